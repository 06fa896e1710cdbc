"""Results as JSON and back by their types alone: a field of a result is a key of docs/bench-json.md.

Results are dataclasses. Where a field has another name than its key, as `runners` for "contenders", the result is a
`msgspec.Struct` with `rename`; both can hold each other.

A file that does not fit is refused in one line that names the place in the document: "Expected 'float', got 'str' -
at '$.bundles[0].scores.accuracy'". Unknown keys are ignored: a newer version may add some.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec

from braintumor.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["Count", "Positive", "decode", "encode", "field_values", "read_document"]

Count = Annotated[int, msgspec.Meta(ge=0)]
"""A whole number, 0 or more."""

Positive = Annotated[float, msgspec.Meta(gt=0)]
"""A number above 0, as a time or a ratio that is drawn on a logarithmic axis."""

Result = TypeVar("Result")


def encode(result: object) -> Any:
    """Results as dicts, lists, texts and numbers, in the order of their fields."""
    return msgspec.to_builtins(result)


def field_values(result: "DataclassInstance | msgspec.Struct") -> dict[str, Any]:
    """The fields of a result, not converted: the first arguments of a result that inherits from it."""
    if isinstance(result, msgspec.Struct):
        return msgspec.structs.asdict(result)
    return {field.name: getattr(result, field.name) for field in fields(result)}


def decode(data: object, kind: type[Result]) -> Result:
    """Build a result from plain data, the opposite of `encode`.

    Args:
        data: Plain data, as returned by `json.loads`.
        kind: Its type.

    Raises:
        IntegrityError: A key is missing, or has another type of value.
    """
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise IntegrityError(f"not a {kind.__name__}: {_quoted(error)}") from error


@dataclass(frozen=True, slots=True)
class _Header:
    schema: str = ""


def read_document(path: Path, kinds: Mapping[str, type[Result]], remedy: str) -> Result:
    """Read a JSON file of one of several schemas.

    Args:
        path: The file.
        kinds: Schema → its type; "" for a file without a schema.
        remedy: How to get such a file.

    Raises:
        UsageError: The file is not there.
        IntegrityError: It is not JSON, has another schema, or does not fit its schema.
    """
    try:
        data = path.read_bytes()
        schema = msgspec.json.decode(data, type=_Header).schema
        if schema in kinds:
            return msgspec.json.decode(data, type=kinds[schema])
    except FileNotFoundError as error:
        raise UsageError(f"{path} is not there", remedy) from error
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise IntegrityError(f"{path} cannot be read: {_quoted(error)}", remedy) from error
    allowed = ", ".join(name or "none" for name in kinds)
    raise IntegrityError(f"{path} is of schema {schema or 'none'!r}, not {allowed}", remedy)


def _quoted(error: Exception) -> str:
    """The message of msgspec with names in quotes: in our messages backquotes mark parameters."""
    return str(error).replace("`", "'")
