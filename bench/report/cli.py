"""`bt-bench report`: decisions, speed and what they rest on, on one page."""

import sys
import time
from pathlib import Path
from typing import Any, TypeVar

import click

from braintumor.bench.options import (
    PATH,
    REFUSED,
    baseline_option,
    batches_option,
    data_option,
    data_source,
    engines_option,
    margin_option,
    models_option,
    robustness_option,
    threads_option,
    typed_command,
)
from braintumor.command import EPILOG, Command, debug_option, require_signature_option
from braintumor.errors import UsageError

__all__ = ["report"]

Part = TypeVar("Part")


@click.command(cls=Command, epilog=EPILOG)
@click.argument("bundles", metavar="[BUNDLE]...", nargs=-1, type=PATH)
@data_option
@click.option("--reference", metavar="keras|none|BUNDLE", default="keras", show_default=True)
@models_option
@engines_option
@baseline_option
@batches_option
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=30.0,
    show_default=True,
    help="At most, of each batch size.",
)
@threads_option
@margin_option
@robustness_option
@click.option("--accuracy", "accuracy_file", metavar="FILE", type=PATH, help="Take these decisions; judge nothing.")
@click.option("--latency", "latency_file", metavar="FILE", type=PATH, help="Take these times; time nothing.")
@click.option("--out", metavar="DIR", type=PATH, default=Path("report"), show_default=True)
@require_signature_option
@debug_option
def report(
    *, bundles: tuple[Path, ...], accuracy_file: Path | None, latency_file: Path | None, out: Path, **options: Any
) -> None:
    """Judge and time each BUNDLE, or take what was measured before, and write report.html, .json and .md.

    Bundles are not changed: bt-bench accuracy writes the verdict into them. What was measured when a run is cut short
    stays in accuracy.json and latency.json, to go on from. Exit code 3 when one is refused.
    """
    start_s = time.perf_counter()
    from braintumor.bench.accuracy.result import AccuracyResult
    from braintumor.bench.latency.result import LatencyResult
    from braintumor.bench.report.measure import ReportOptions, plan_evaluation, plan_timing
    from braintumor.bench.report.result import Report
    from braintumor.bench.report.write import PartFiles, check_writable, write_report

    if not bundles and accuracy_file is None and latency_file is None:
        raise UsageError("a report needs bundles to measure, or --accuracy FILE or --latency FILE")
    check_writable(out)
    accuracy = _read(accuracy_file, "accuracy", AccuracyResult)
    latency = _read(latency_file, "latency", LatencyResult)
    command = typed_command()
    values = ReportOptions(bundles=bundles, command=command, **{**options, "data": data_source(options["data"])})
    # All that can be refused is refused before the first is measured.
    evaluation = plan_evaluation(values, _echo) if bundles and accuracy is None else None
    timing = plan_timing(values) if bundles and latency is None else None
    files = PartFiles(out, command)
    with files.explaining_interruption():
        known = {} if evaluation is None else evaluation.measure(_echo, files.accuracy.writer())
        if timing is not None:
            timing.measure(_echo, files.latency.writer(), known)
    result = Report.of(
        files.accuracy.result or accuracy,
        files.latency.result or latency,
        command,
        files.seconds,
        time.perf_counter() - start_s,
    )
    paths = write_report(result, out)
    files.remove()
    for statement in result.summary:
        click.echo(f"{statement.name}: {statement.status}")
        for sentence in statement.sentences:
            click.echo(f"  {sentence}")
    click.echo(", ".join(map(str, paths)))
    if result.refused:
        sys.exit(REFUSED)


def _read(path: Path | None, part: str, kind: type[Part]) -> Part | None:
    """Read what the command of that part measured before."""
    from braintumor.bench.document import read_document

    if path is None:
        return None
    remedy = f"write it with: bt-bench {part} BUNDLE --json {path}"
    return read_document(path, {f"braintumor.{part}/1": kind}, remedy)


def _echo(line: str) -> None:
    click.echo(line, err=True)
