"""A report as three files, all of them or none: the page, its data, and a table for a README."""

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from braintumor.bench.report.markdown import report_markdown
from braintumor.bench.report.page import report_page
from braintumor.bench.report.result import Report
from braintumor.bench.result_file import Kept, told_when_interrupted
from braintumor.errors import BraintumorError
from braintumor.files import atomic_text, output_error

__all__ = ["FILES", "KeptParts", "check_writable", "write_report"]

FILES: Final = ("report.html", "report.json", "report.md")


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
        json.dumps(report.to_json(), indent=1, allow_nan=False) + "\n",
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


class KeptParts:
    """What is measured for a report, on the disk as soon as it is known, and gone when the report holds it.

    Attributes:
        parts: "accuracy" and "latency" → JSON of their schemas, as far as they are measured.
        seconds: Part → how long it was measured.
    """

    def __init__(self, folder: Path, command: str) -> None:
        """Keep nothing yet.

        Args:
            folder: Of the report.
            command: What was typed.
        """
        self.parts: dict[str, Mapping[str, Any]] = {}
        self.seconds: dict[str, float] = {}
        self._folder, self._command = folder, command

    def keeping(self, part: str) -> Callable[[Mapping[str, Any]], None]:
        """Who keeps what is known of a part."""
        begun_s = time.perf_counter()
        file = Kept(self._file(part))

        def keep(told: Mapping[str, Any]) -> None:
            self.parts[part] = told
            self.seconds[part] = time.perf_counter() - begun_s
            file.write(told)

        return keep

    @contextlib.contextmanager
    def told_when_cut_short(self) -> Iterator[None]:
        """Say where it is and how to go on, of a run that is interrupted or fails."""
        try:
            with told_when_interrupted(self._left):
                yield
        except BraintumorError as error:
            if not self.parts:
                raise
            raise type(error)(f"{error}; {self._left()}") from error

    def _left(self) -> str:
        whole = [part for part, told in self.parts.items() if not told["unfinished"]]
        if whole:
            again = " ".join(f"--{part} {self._file(part)}" for part in whole)
            return f"what was measured is kept, go on with: {self._command} {again}"
        return " and ".join(f"{self._file(part)} holds what was measured until then" for part in self.parts)

    def discard(self) -> None:
        """Remove the files: the report holds what they held."""
        for part in self.parts:
            self._file(part).unlink(missing_ok=True)

    def _file(self, part: str) -> Path:
        return self._folder / f"{part}.json"
