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
from braintumor.bench.report.markdown import report_markdown
from braintumor.bench.report.page import report_page
from braintumor.bench.report.result import Report
from braintumor.bench.result_file import Kept, Unfinished, told_when_interrupted
from braintumor.errors import BraintumorError
from braintumor.files import atomic_text, output_error

__all__ = ["FILES", "KeptPart", "KeptParts", "check_writable", "write_report"]

FILES: Final = ("report.html", "report.json", "report.md")

Part = TypeVar("Part", bound=Unfinished)


def check_writable(folder: Path) -> None:
    """Find out before an hour of measuring, not after it.

    Raises:
        OutputError: Nothing can be written there.
    """
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
        report: What was measured.
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


class KeptPart(Generic[Part]):
    """What is measured of one part of a report, on the disk as soon as it is known.

    Attributes:
        name: "accuracy" or "latency".
        path: Where it is kept.
        result: As far as it is measured; None before.
        seconds: How long it was measured.
    """

    def __init__(self, name: str, folder: Path) -> None:
        """Keep nothing yet.

        Args:
            name: Of the part.
            folder: Of the report.
        """
        self.name, self.path = name, folder / f"{name}.json"
        self.result: Part | None = None
        self.seconds = 0.0

    def keeping(self) -> Callable[[Part], None]:
        """Who keeps what is known of it, from now on."""
        begun_s = time.perf_counter()
        file = Kept(self.path)

        def keep(result: Part) -> None:
            self.result, self.seconds = result, time.perf_counter() - begun_s
            file.write(result)

        return keep


class KeptParts:
    """What is measured for a report, and gone from the disk when the report holds it.

    Attributes:
        accuracy: Decisions.
        latency: Times.
    """

    def __init__(self, folder: Path, command: str) -> None:
        """Keep nothing yet.

        Args:
            folder: Of the report.
            command: What was typed.
        """
        self.accuracy = KeptPart[AccuracyResult]("accuracy", folder)
        self.latency = KeptPart[LatencyResult]("latency", folder)
        self._command = command

    @property
    def seconds(self) -> dict[str, float]:
        """Part → how long it was measured, of those that were."""
        return {part.name: part.seconds for part in self._measured}

    @property
    def _measured(self) -> list[KeptPart[AccuracyResult] | KeptPart[LatencyResult]]:
        return [part for part in (self.accuracy, self.latency) if part.result is not None]

    @contextlib.contextmanager
    def told_when_cut_short(self) -> Iterator[None]:
        """Say where it is and how to go on, of a run that is interrupted or fails."""
        try:
            with told_when_interrupted(self._left):
                yield
        except BraintumorError as error:
            if not self._measured:
                raise
            raise type(error)(str(error), self._left()) from error

    def _left(self) -> str:
        whole = [part for part in self._measured if part.result is not None and not part.result.unfinished]
        if whole:
            again = " ".join(f"--{part.name} {part.path}" for part in whole)
            return f"what was measured is kept, go on with: {self._command} {again}"
        return " and ".join(f"{part.path} holds what was measured until then" for part in self._measured)

    def discard(self) -> None:
        """Remove the files: the report holds what they held."""
        for part in self._measured:
            part.path.unlink(missing_ok=True)
