"""A report as three files, all of them or none: the page, its data, and a table for a README."""

import contextlib
import json
import secrets
from pathlib import Path
from typing import Final

from braintumor.bench.report import Report
from braintumor.bench.report_markdown import report_markdown
from braintumor.bench.report_page import report_page
from braintumor.runtime.files import atomic_text, output_error

__all__ = ["FILES", "check_writable", "write_report"]

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
