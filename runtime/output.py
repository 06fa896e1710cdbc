"""Predictions as text: a table for a person; JSON, JSON lines and CSV for a program. All of them stream."""

import contextlib
import csv
import json
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Protocol, TextIO

import click

from braintumor import NOTICE
from braintumor.errors import OutputError
from braintumor.runtime.bundle.load import Bundle
from braintumor.runtime.bundle_lines import caution_lines, table_verdict_lines
from braintumor.runtime.engine_selection import EngineChoice
from braintumor.runtime.prediction import ImageInfo, Prediction

__all__ = [
    "RENDERERS",
    "Csv",
    "JsonArray",
    "JsonLines",
    "Renderer",
    "Table",
    "choice_line",
]

# Up to so many images each get a block with the members' answers; more get a line each.
_DETAILED = 4
_PATH_COLUMNS = 36
# The longest of the usual four, and two blanks.
_NAME_COLUMNS = 12
_ROW_BAR_COLUMNS = 10
_BLOCK_BAR_COLUMNS = 30


class Renderer(Protocol):
    """Writes predictions one after the other."""

    def write(self, prediction: Prediction) -> None:
        """Write one prediction."""
        ...

    def finish(self) -> None:
        """Write the end, after the last prediction."""
        ...


class JsonLines:
    """One JSON object a line."""

    def __init__(self, stream: TextIO, bundle: Bundle, expected: int) -> None:
        del bundle, expected
        self._stream = stream

    def write(self, prediction: Prediction) -> None:
        """Write one line, at once: a program may be reading it."""
        _write(self._stream, prediction.to_json() + "\n")

    def finish(self) -> None:
        """Nothing follows."""


class JsonArray:
    """One JSON array."""

    def __init__(self, stream: TextIO, bundle: Bundle, expected: int) -> None:
        del bundle, expected
        self._stream = stream
        self._lead = "["

    def write(self, prediction: Prediction) -> None:
        """Write one element."""
        text = json.dumps(prediction.to_dict(), allow_nan=False, indent=2)  # ASCII, as `Prediction.to_json`
        _write(self._stream, f"{self._lead}\n{text}")
        self._lead = ","

    def finish(self) -> None:
        """Close the array."""
        _write(self._stream, "[]\n" if self._lead == "[" else "\n]\n")


class Csv:
    """A header and one row an image; a class's column holds its probability in the vote.

    label_lower and label_upper are filled where not all members ran: between them the full vote's probability lies.
    """

    def __init__(self, stream: TextIO, bundle: Bundle, expected: int) -> None:
        del expected
        self._stream = stream
        self._classes = bundle.classes
        # "\n": a text stream on Windows would turn the module's own "\r\n" into "\r\r\n".
        self._writer = csv.writer(_CheckedStream(stream), lineterminator="\n")
        self._writer.writerow(
            [
                "path",
                "status",
                "label",
                *bundle.classes,
                "margin",
                "entropy_nats",
                "policy",
                "members_run",
                "label_lower",
                "label_upper",
                "sha256",
                "frames",
                "bundle",
                "engine",
                "error",
                "engine_version",
                "verdict",
            ]
        )

    def write(self, prediction: Prediction) -> None:
        """Write one row."""
        self._writer.writerow(
            [
                prediction.input.path or "",
                prediction.status,
                prediction.label or "",
                *(prediction.probabilities.get(name, "") for name in self._classes),
                "" if prediction.margin is None else prediction.margin,
                "" if prediction.entropy_nats is None else prediction.entropy_nats,
                prediction.policy,
                prediction.members_run,
                *_label_bounds(prediction),
                prediction.input.sha256 or "",
                prediction.input.frames or "",
                prediction.bundle["sha256"],
                prediction.engine["name"],
                prediction.error["message"] if prediction.error else "",
                prediction.engine["version"],
                prediction.bundle.get("verdict", ""),
            ]
        )

    def finish(self) -> None:
        """Nothing follows."""


class Table:
    """For a person: a block an image when they are few, a line an image when they are many."""

    def __init__(self, stream: TextIO, bundle: Bundle, expected: int) -> None:
        self._stream = stream
        self._bundle = bundle
        self._detailed = expected <= _DETAILED
        self._signs = _Signs.for_stream(stream)
        self._engine: Mapping[str, str] = {}
        self._name_columns = max(_NAME_COLUMNS, *map(len, bundle.classes))
        # Of percent, one a class; two blanks between.
        self._columns = [max(_NAME_COLUMNS, len(name) + 2) for name in bundle.classes]
        if not self._detailed:
            heads = "".join(f"{name:>{size}}" for name, size in zip(bundle.classes, self._columns, strict=True))
            label = f"{'label':<{self._name_columns}}"
            self._line(f"{'image':<{_PATH_COLUMNS}}  {label}  {'vote':<{_ROW_BAR_COLUMNS}}{heads}")

    def write(self, prediction: Prediction) -> None:
        """Write one block or line."""
        self._engine = prediction.engine
        if prediction.error is not None:
            self._line(click.style(f"{_path(prediction)}  error  {prediction.error['message']}", fg="red"))
        elif self._detailed:
            self._block(prediction)
        else:
            self._row(prediction)

    def finish(self) -> None:
        """Write the bundle, the engine and the notice."""
        engine = f" on {self._engine['name']} ({self._engine['version']})" if self._engine else ""
        self._line(f"bundle {self._bundle.name} ({self._bundle.precision}, {self._bundle.sha256[:12]}){engine}")
        for line in table_verdict_lines(self._bundle, self._engine):
            self._line(line)
        for line in caution_lines(self._bundle):
            self._line(click.style(line, fg="yellow"))
        self._line(NOTICE)

    def _row(self, prediction: Prediction) -> None:
        path = _path(prediction)
        if len(path) > _PATH_COLUMNS:
            path = self._signs.cut(path, _PATH_COLUMNS)
        values = zip(prediction.probabilities.values(), self._columns, strict=True)
        cells = "".join(f"{100 * value:>{size - 2}.1f} %" for value, size in values)
        bar = self._signs.bar(max(prediction.probabilities.values()), _ROW_BAR_COLUMNS)
        note = "" if prediction.bounds is None else f"  of {prediction.members_run} members"
        note += "".join(f"  {remark}" for remark in _remarks(prediction.input))
        self._line(f"{path:<{_PATH_COLUMNS}}  {prediction.label or '':<{self._name_columns}}  {bar}{cells}{note}")

    def _block(self, prediction: Prediction) -> None:
        image = prediction.input
        self._line(f"{_path(prediction)}  {image.format} {image.width} x {image.height}")
        for name, value in prediction.probabilities.items():
            line = f"  {name:<{self._name_columns}} {self._signs.bar(value, _BLOCK_BAR_COLUMNS)} {100 * value:5.1f} %"
            self._line(click.style(line, bold=True) if name == prediction.label else line)
        self._line(f"  label {prediction.label}, {_certainty(prediction)}")
        for member in prediction.members:
            percent = 100 * member.probabilities[member.label]
            self._line(f"  {member.name} says {member.label} ({percent:.1f} %)")
        decode, inference = prediction.timing_ms["decode"], prediction.timing_ms["inference"]
        self._line(f"  decoded in {decode:.1f} ms, answered in {inference:.1f} ms")
        for remark in _remarks(image):
            self._line(f"  {remark}")
        self._line("")

    def _line(self, text: str) -> None:
        color = None if self._stream.isatty() else False
        with _writing():
            click.echo(_encodable(self._stream, text), file=self._stream, color=color)


class _Signs:
    """Bars and the mark of a shortened path, in characters that the stream can show."""

    def __init__(self, full: str, empty: str, ellipsis: str) -> None:
        self._full, self._empty, self._ellipsis = full, empty, ellipsis

    @classmethod
    def for_stream(cls, stream: TextIO) -> "_Signs":
        try:
            "█·…".encode(stream.encoding or "ascii")
        except (UnicodeEncodeError, LookupError):
            return cls("#", ".", "...")
        return cls("█", "·", "…")

    def bar(self, value: float, columns: int) -> str:
        filled = round(value * columns)
        return self._full * filled + self._empty * (columns - filled)

    def cut(self, text: str, columns: int) -> str:
        return self._ellipsis + text[len(self._ellipsis) - columns :]


class _CheckedStream:
    """A stream for the csv module whose failures come out as our error."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        _write(self._stream, text)


def _write(stream: TextIO, text: str) -> None:
    with _writing():
        stream.write(_encodable(stream, text))
        stream.flush()


def _encodable(stream: TextIO, text: str) -> str:
    """The text with escapes for characters that the stream's encoding lacks, and for bytes that are not text."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        # The reader has seen enough (`| head`): click ends the command quietly.
        raise
    except OSError as error:
        raise OutputError(
            f"the output cannot be written ({error.strerror or error})", "free some space, or choose another `output`"
        ) from error


def _remarks(image: ImageInfo) -> Iterator[str]:
    """What was done to an image that a person would not expect."""
    if (image.frames or 1) > 1:
        yield f"first of {image.frames} frames"
    if (image.orientation or 1) > 1:
        yield f"turned by its EXIF orientation {image.orientation}"
    if image.transparent:
        yield "transparent parts over black"


def _label_bounds(prediction: Prediction) -> tuple[float | str, float | str]:
    if prediction.bounds is None or prediction.label is None:
        return "", ""
    return prediction.bounds[prediction.label]


def _certainty(prediction: Prediction) -> str:
    if prediction.bounds is None or prediction.label is None:
        agreeing = sum(member.label == prediction.label for member in prediction.members)
        lead = "" if prediction.margin is None else f"{100 * prediction.margin:.0f} points ahead; "
        return f"{lead}{agreeing} of {len(prediction.members)} models agree"
    lower, upper = prediction.bounds[prediction.label]
    return (
        f"certain after {prediction.members_run} members, whose vote this is; all would give "
        f"{100 * lower:.1f} to {100 * upper:.1f} %"
    )


def choice_line(choice: EngineChoice) -> str:
    """The measurement of "auto", in one line."""
    others = sorted(choice.images_per_s.items(), key=lambda pair: -pair[1])[1:]
    slower = ", ".join(f"{name} {speed:.3g}" for name, speed in others)
    speed = f"{choice.images_per_s[choice.engine]:.3g} images/s"
    line = f"Using {choice.engine} {'now' if choice.not_remembered else 'from now on'}: {speed}"
    lost = f"; this could not be remembered: {choice.not_remembered}" if choice.not_remembered else ""
    return f"{line}{f' ({slower})' if slower else ''}{lost}."


def _path(prediction: Prediction) -> str:
    path = prediction.input.path or "(memory)"
    # A name may hold line ends, or bytes that command the terminal.
    return path if path.isprintable() else ascii(path)


RENDERERS: Mapping[str, Callable[[TextIO, Bundle, int], Renderer]] = MappingProxyType(
    {"table": Table, "json": JsonArray, "jsonl": JsonLines, "csv": Csv}
)
