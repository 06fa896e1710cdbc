"""Results as JSON and back by their types alone: a field of a result is a key of docs/bench-json.md.

A file that does not fit is refused in one line with the place in the document: "Expected 'float', got 'str' - at
'$.bundles[0].scores.accuracy'". Keys that a type does not know are passed over: a newer version may add some.
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
    """Dataclasses as dicts, lists, texts and numbers, in the order of their fields."""
    return msgspec.to_builtins(result)


def field_values(result: "DataclassInstance") -> dict[str, Any]:
    """The fields of a dataclass as they are: what one that inherits from it begins with."""
    return {one.name: getattr(result, one.name) for one in fields(result)}


def decode(data: object, kind: type[Result]) -> Result:
    """The opposite of `encode`.

    Args:
        data: Plain data, as `json.loads` gives it.
        kind: A dataclass.

    Raises:
        IntegrityError: The data lack a key, or hold something else there.
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
        kinds: Schema → its dataclass; "" stands for a file that names no schema.
        remedy: How to get a file that is allowed.

    Raises:
        UsageError: It is not there.
        IntegrityError: It is not JSON, is of another schema, or does not hold what its schema promises.
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
    """What msgspec says, with names in quotes: in our messages backticks stand for parameters."""
    return str(error).replace("`", "'")
