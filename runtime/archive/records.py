"""Records of a results file, one a line: JSON lines and CSV, written by the renderers of `bt-infer` and read back."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Annotated, Final, Protocol

import msgspec

from braintumor.runtime.bundle.load import Bundle
from braintumor.runtime.output import Csv, JsonLines
from braintumor.runtime.prediction import SCHEMA, Prediction

__all__ = ["FORMATS", "CsvRecords", "Identity", "JsonRecords", "Record", "RecordFormat"]


@dataclass(frozen=True, slots=True)
class Identity:
    """What answered. Records of one results file have one.

    Attributes:
        bundle: Its name; "" where the format does not keep it.
        bundle_sha256: Its SHA-256.
        policy: Of the ensemble.
        engine: Its name.
        engine_version: The library and its version.
    """

    bundle: str
    bundle_sha256: str
    policy: str
    engine: str
    engine_version: str


@dataclass(frozen=True, slots=True)
class Record:
    """A record of a results file, as far as going on with the file needs it.

    Attributes:
        path: Of the image, as the file has it.
        sha256: Of the image; None where it could not be read.
        label: None for a record of an error.
        identity: What answered.
    """

    path: str
    sha256: str | None
    label: str | None
    identity: Identity


class RecordFormat(Protocol):
    """A format with one record a line."""

    opening: bytes

    def parse(self, line: bytes, number: int) -> Record | None:
        """Read a line; None for one that is not a record.

        Args:
            line: Without its end.
            number: Of the line, from 1.

        Raises:
            ValueError: It is not a line of this format; the message says why.
        """
        ...

    def path_text(self, path: str) -> str:
        """A path as the records have it."""
        ...

    def header(self, bundle: Bundle) -> bytes:
        """The lines before the first record; none are b""."""
        ...

    def line(self, prediction: Prediction, bundle: Bundle) -> bytes:
        """A record, with its line end."""
        ...


class JsonRecords:
    """JSON lines of `braintumor.prediction/1`."""

    opening = f'{{"schema": "{SCHEMA}", '.encode()

    def parse(self, line: bytes, number: int) -> Record | None:  # noqa: ARG002 - as the protocol
        """Read a line; see `RecordFormat`."""
        record = _decoded(line)
        identity = Identity(
            record.bundle.name, record.bundle.sha256, record.policy, record.engine.name, record.engine.version
        )
        return Record(record.input.path or "", record.input.sha256, record.label, identity)

    def path_text(self, path: str) -> str:
        """The path itself."""
        return path

    def header(self, bundle: Bundle) -> bytes:  # noqa: ARG002 - as the protocol
        """No lines."""
        return b""

    def line(self, prediction: Prediction, bundle: Bundle) -> bytes:
        """A record, with its line end."""
        stream = io.StringIO()
        JsonLines(stream, bundle, 1).write(prediction)
        return stream.getvalue().encode()


class CsvRecords:
    """Rows of CSV. A line end within a path is written as an escape, so that a record stays in its line."""

    opening = b"path,status,label,"
    _needed: Final = ("path", "status", "label", "sha256", "policy", "bundle", "engine", "engine_version")

    def __init__(self) -> None:
        self._columns: list[str] = []

    def parse(self, line: bytes, number: int) -> Record | None:
        """Read a line; see `RecordFormat`. The first has the names of the columns."""
        try:
            (row,) = csv.reader([line.decode()], strict=True)
        except csv.Error as error:
            raise ValueError(str(error)) from error
        if number == 1:
            if missing := [name for name in self._needed if name not in row]:
                raise ValueError(f"it lacks the columns {', '.join(missing)}")
            self._columns = row
            return None
        if len(row) != len(self._columns):
            raise ValueError(f"it has {len(row)} fields, the first line has {len(self._columns)}")
        fields = dict(zip(self._columns, row, strict=True))
        identity = Identity("", fields["bundle"], fields["policy"], fields["engine"], fields["engine_version"])
        return Record(fields["path"], fields["sha256"] or None, fields["label"] or None, identity)

    def path_text(self, path: str) -> str:
        """The path with escapes for line ends and for bytes that are not text."""
        return path.replace("\r", "\\r").replace("\n", "\\n").encode("utf-8", "backslashreplace").decode()

    def header(self, bundle: Bundle) -> bytes:
        """The names of the columns."""
        stream = io.StringIO()
        Csv(stream, bundle, 0)
        return stream.getvalue().encode()

    def line(self, prediction: Prediction, bundle: Bundle) -> bytes:
        """A record, with its line end."""
        stream = io.StringIO()
        renderer = Csv(stream, bundle, 1)
        stream.seek(0)
        stream.truncate()
        path = self.path_text(prediction.input.path or "")
        renderer.write(replace(prediction, input=replace(prediction.input, path=path)))
        return stream.getvalue().encode()


FORMATS: Final[Mapping[str, type[JsonRecords | CsvRecords]]] = MappingProxyType(
    {"jsonl": JsonRecords, "csv": CsvRecords}
)
"""Formats of a results file that can be continued."""


class _Input(msgspec.Struct):
    path: str | None
    sha256: str | None


class _Bundle(msgspec.Struct):
    name: str
    sha256: str


class _Engine(msgspec.Struct):
    name: str
    version: str


class _JsonRecord(msgspec.Struct):
    schema: Annotated[str, msgspec.Meta(pattern=f"^{SCHEMA}$")]
    input: _Input
    label: str | None
    policy: str
    bundle: _Bundle
    engine: _Engine


_DECODER: Final = msgspec.json.Decoder(_JsonRecord)


def _decoded(line: bytes) -> _JsonRecord:
    try:
        return _DECODER.decode(line)
    except msgspec.ValidationError as error:
        raise ValueError(str(error).replace("`", "'")) from error
    except msgspec.DecodeError:
        # A path may hold bytes that are not text. Python keeps them as lone surrogates, which msgspec does not read.
        return msgspec.convert(json.loads(line), _JsonRecord)
