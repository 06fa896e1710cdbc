"""`bt-bench latency`: how fast bundles run, beside each other and beside baselines."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

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
from braintumor.command import EPILOG, Command, debug_option, require_signature_option

if TYPE_CHECKING:
    from braintumor.runtime.prediction import Policy

__all__ = ["latency"]


@click.command(cls=Command, epilog=EPILOG)
@click.argument("bundles", metavar="BUNDLE...", nargs=-1, required=True, type=PATH)
@engines_option
@batches_option
@baseline_option
@data_option
@click.option("--images", type=click.IntRange(1), help="Number of images.  [default: 64, or all if there are fewer]")
@models_option
@device_option
@policy_option
@threads_option
@click.option(
    "--cold-starts", type=click.IntRange(1), default=1, show_default=True, help="Processes started of each runner."
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
@require_signature_option
@debug_option
def latency(  # noqa: PLR0913 - one parameter for each option of the command
    *,
    bundles: tuple[Path, ...],
    engines: tuple[str, ...],
    batches: tuple[int, ...],
    baselines: tuple[str, ...],
    data: Path | None,
    images: int | None,
    models: tuple[Path, ...],
    device: str | None,
    policy: "Policy",
    threads: int | None,
    cold_starts: int,
    rounds: int,
    seconds: float,
    tolerance: float,
    public_key: Path | None,
    output: Path | None,
) -> None:
    """Time bundles on their engines, and baselines, on the same images in one run.

    Every runner has a process of its own; they take turns until the times are stable. Whole calls are timed, from
    the files to the votes. Exit code 5 when an engine that was named cannot be used, or would run elsewhere.
    """
    from braintumor.bench.latency.measure import measure_latency
    from braintumor.bench.latency.options import LatencyOptions
    from braintumor.bench.latency.render import latency_lines
    from braintumor.bench.metrics.stability import Window
    from braintumor.bench.result_file import ResultFile

    options = LatencyOptions(
        bundles=bundles,
        engines=engines,
        baselines=baselines,
        batches=batches,
        data=data_source(data),
        images=images,
        models=model_folders(models),
        device=device,
        threads=threads,
        policy=policy,
        cold_starts=cold_starts,
        window=Window(rounds, seconds, tolerance),
        command=typed_command(),
        public_key=public_key,
    )
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
