"""`bt-bench latency`: how fast bundles run, beside each other and beside baselines."""

import sys
from pathlib import Path
from typing import Any

import click

from braintumor import NOTICE
from braintumor.bench.options import (
    PATH,
    baseline_option,
    batches_option,
    data_option,
    data_source,
    device_option,
    engines_option,
    model_folders,
    models_option,
    policy_option,
    threads_option,
    typed_command,
)
from braintumor.command import EPILOG, Command, debug_option

__all__ = ["latency"]


@click.command(cls=Command, epilog=EPILOG)
@click.argument("bundles", metavar="BUNDLE...", nargs=-1, required=True, type=PATH)
@engines_option
@batches_option
@baseline_option
@data_option
@click.option("--images", type=click.IntRange(1), help="How many of them.  [default: 64, or as many as there are]")
@models_option
@device_option
@policy_option
@threads_option
@click.option(
    "--cold-starts", type=click.IntRange(1), default=1, show_default=True, help="Processes started of each."
)
@click.option("--rounds", type=click.IntRange(4), default=10, show_default=True, help="At least, of each batch size.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True, help="At most.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0, min_open=True),
    default=0.05,
    show_default=True,
    help="By how much the halves of a stable window may differ.",
)
@click.option("--json", "output", metavar="FILE", type=PATH, help="Write everything there, raw samples included.")
@debug_option
def latency(*, rounds: int, seconds: float, tolerance: float, output: Path | None, **settings: Any) -> None:
    """Time bundles on their engines, and baselines, on the same images in one run.

    Every runner has a process of its own; they take turns until the times are stable. Whole calls are timed, from
    the files to the votes. Exit code 5 when an engine that was named cannot be used, or would run
    elsewhere.
    """
    from braintumor.bench.latency.measure import measure_latency
    from braintumor.bench.latency.options import LatencyOptions
    from braintumor.bench.latency.render import latency_lines
    from braintumor.bench.metrics.stability import Window
    from braintumor.bench.result_file import ResultFile

    settings |= {"data": data_source(settings["data"]), "models": model_folders(settings["models"])}
    options = LatencyOptions(**settings, window=Window(rounds, seconds, tolerance), command=typed_command())
    file = ResultFile(output)
    with file.note_on_interrupt():
        result = measure_latency(
            options,
            progress=lambda line: click.echo(line, err=True),
            on_result=file.write,
        )
    file.write(result)
    for line in latency_lines(result):
        click.echo(line)
    if sys.stderr.isatty():
        click.echo(NOTICE, err=True)
