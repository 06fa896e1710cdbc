"""A report as three files, all of them or none: the page, its data, and a table for a README."""

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Generic, TypeVar

from braintumor.bench.accuracy.result import AccuracyResult
from braintumor.bench.document import encode
from braintumor.bench.latency.result import LatencyResult
from braintumor.bench.report.chart import require_drawing
from braintumor.bench.report.html import require_pages
from braintumor.bench.report.markdown import report_markdown
from braintumor.bench.report.page import report_page
from braintumor.bench.report.result import Report
from braintumor.bench.result_file import ResultFile, Unfinished, note_on_interrupt
from braintumor.errors import BraintumorError
from braintumor.files import atomic_text, output_error

__all__ = ["FILES", "PartFile", "PartFiles", "check_writable", "write_report"]

FILES: Final = ("report.html", "report.json", "report.md")

Part = TypeVar("Part", bound=Unfinished)


def check_writable(folder: Path) -> None:
    """Find out before an hour of measuring, not after it, that a report can be written.

    Raises:
        OutputError: Nothing can be written there.
        UnavailableError: Jinja2 or matplotlib is not installed.
    """
    require_pages()
    require_drawing()
    probe = folder / f".braintumor-{secrets.token_hex(4)}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise output_error(folder, error) from error


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write the files; those of an earlier report stay as they were when anything fails.

    Args:
        report: Decisions, times, or both.
        folder: Made where it is missing.

    Raises:
        OutputError: The folder cannot be written, or the disk is full.
    """
    check_writable(folder)
    texts = (
        report_page(report),
        json.dumps(encode(report), indent=1, allow_nan=False) + "\n",
        report_markdown(report),
    )
    paths = [folder / name for name in FILES]
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(atomic_text(path)) for path in paths]
        for stream, text in zip(streams, texts, strict=True):
            stream.write(text)
            # Here, and not when the first has taken its place: a full disk is found before.
            stream.flush()
    return paths


class PartFile(Generic[Part]):
    """The JSON file of one part of a report, written anew whenever more of it is known.

    Attributes:
        name: "accuracy" or "latency".
        path: Of the file.
        result: As far as it is measured; None before.
        seconds: How long it was measured.
    """

    def __init__(self, name: str, folder: Path) -> None:
        """Write nothing yet.

        Args:
            name: Of the part.
            folder: Of the report.
        """
        self.name, self.path = name, folder / f"{name}.json"
        self.result: Part | None = None
        self.seconds = 0.0

    def writer(self) -> Callable[[Part], None]:
        """Start the clock, and return what writes each result."""
        start_s = time.perf_counter()
        file = ResultFile(self.path)

        def write(result: Part) -> None:
            self.result, self.seconds = result, time.perf_counter() - start_s
            file.write(result)

        return write


class PartFiles:
    """The files of both parts; they go when the report holds what they hold.

    Attributes:
        accuracy: Decisions.
        latency: Times.
    """

    def __init__(self, folder: Path, command: str) -> None:
        """Write nothing yet.

        Args:
            folder: Of the report.
            command: The command line.
        """
        self.accuracy = PartFile[AccuracyResult]("accuracy", folder)
        self.latency = PartFile[LatencyResult]("latency", folder)
        self._command = command

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of each part that was measured."""
        return {part.name: part.seconds for part in self._measured}

    @property
    def _measured(self) -> list[PartFile[AccuracyResult] | PartFile[LatencyResult]]:
        return [part for part in (self.accuracy, self.latency) if part.result is not None]

    @contextlib.contextmanager
    def explaining_interruption(self) -> Iterator[None]:
        """Tell where the figures of an interrupted or failed run are, and how to go on with them."""
        try:
            with note_on_interrupt(self._remedy):
                yield
        except BraintumorError as error:
            if not self._measured:
                raise
            raise type(error)(str(error), self._remedy()) from error

    def _remedy(self) -> str:
        finished = [part for part in self._measured if part.result is not None and not part.result.unfinished]
        if finished:
            options = " ".join(f"--{part.name} {part.path}" for part in finished)
            return f"what was measured is kept, go on with: {self._command} {options}"
        return " and ".join(f"{part.path} holds what was measured until then" for part in self._measured)

    def remove(self) -> None:
        """Remove the files: the report holds what they held."""
        for part in self._measured:
            part.path.unlink(missing_ok=True)
