"""`bt-bench latency`: how fast bundles answer, beside each other and beside peers."""

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from braintumor import NOTICE
from braintumor.bench.listed import Listed
from braintumor.bench.peers.registry import PEERS
from braintumor.command import EPILOG, Command, debug_option
from braintumor.runtime.registry import AUTO, ENGINES

__all__ = ["latency"]

_PATH = click.Path(path_type=Path)


@click.command(cls=Command, epilog=EPILOG)
@click.argument("bundles", metavar="BUNDLE...", nargs=-1, required=True, type=_PATH)
@click.option(
    "--engine",
    "engines",
    metavar="NAME,…",
    type=Listed(str),
    default=AUTO,
    show_default=True,
    help=f"{AUTO}, all (that are usable), or of: {', '.join(ENGINES)}.",
)
@click.option("--batch", "batches", metavar="N,…", type=Listed(int), default="1,8,32", show_default=True)
@click.option("--against", metavar="NAME,…", type=Listed(str), default="", help=f"Peers: {', '.join(PEERS)}.")
@click.option("--data", metavar="DIR|NPZ", type=_PATH, help="Real images.  [default: $BRAINTUMOR_DATA, or phantoms]")
@click.option("--images", type=click.IntRange(1), help="How many of them.  [default: 64, or as many as there are]")
@click.option(
    "--models",
    metavar="DIR",
    type=_PATH,
    multiple=True,
    default=("models",),
    show_default=True,
    help="Where the .keras files for the peer keras are; can be repeated.",
)
@click.option("--device", metavar="cuda:N", help="Which GPU, for an engine that uses one.")
@click.option("--policy", type=click.Choice(("full", "early-exit")), default="full", show_default=True)
@click.option("--threads", type=click.IntRange(1), help="CPU threads of each.  [default: its own choice]")
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
@click.option("--json", "output", metavar="FILE", type=_PATH, help="Write everything there, raw samples included.")
@debug_option
def latency(*, rounds: int, seconds: float, tolerance: float, output: Path | None, **asked: Any) -> None:
    """Time bundles on their engines, and peers, on the same images in one run.

    Every contender lives in a process of its own; they take turns until the times are stable. Whole answers are
    timed, from the files to the votes. Exit code 5 when an engine that was named cannot be used, or would run
    elsewhere.
    """
    from braintumor.bench.kept import Kept
    from braintumor.bench.labelled import DATA_VARIABLE
    from braintumor.bench.latency import measure_latency
    from braintumor.bench.latency_options import LatencyOptions
    from braintumor.bench.latency_render import latency_lines
    from braintumor.bench.stability import Window

    if asked["data"] is None and (named := os.environ.get(DATA_VARIABLE)):
        asked["data"] = Path(named)
    options = LatencyOptions(
        **{**asked, "models": tuple(path for path in asked["models"] if path.is_dir())},
        window=Window(rounds, seconds, tolerance),
        command=shlex.join(["bt-bench", *sys.argv[1:]]),
    )
    file = Kept(output)
    with file.kept_when_interrupted():
        result = measure_latency(
            options,
            told=lambda line: click.echo(line, err=True),
            kept=lambda so_far: file.write(so_far.to_json()),
        )
    file.write(result.to_json())
    for line in latency_lines(result):
        click.echo(line)
    if sys.stderr.isatty():
        click.echo(NOTICE, err=True)
