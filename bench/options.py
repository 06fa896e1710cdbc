"""What the commands of `bt-bench` ask alike: said once, so that it means the same everywhere."""

import os
import shlex
import sys
from pathlib import Path
from typing import Final

import click

from braintumor.bench.latency.runners.registry import PEERS
from braintumor.bench.listed import Listed
from braintumor.errors import UsageError
from braintumor.runtime.engines.registry import AUTO, ENGINES

__all__ = [
    "PATH",
    "REFUSED",
    "against_option",
    "batches_option",
    "data_option",
    "data_source",
    "device_option",
    "engines_option",
    "margin_option",
    "model_folders",
    "models_option",
    "policy_option",
    "robustness_option",
    "threads_option",
    "typed_command",
]

REFUSED: Final = 3
"""Exit code when a bundle is refused."""

PATH: Final = click.Path(path_type=Path)

# Names only, so that --help loads no NumPy: the modules behind them define the same.
_DATA_VARIABLE: Final = "BRAINTUMOR_DATA"
_MARGIN_POINTS: Final = 0.5

data_option = click.option(
    "--data",
    metavar="DIR|NPZ",
    type=PATH,
    help="Images by class: a folder, or the test part of what bt-data prepare wrote.  "
    f"[default: ${_DATA_VARIABLE}; latency times phantoms without]",
)
models_option = click.option(
    "--models",
    metavar="DIR",
    type=PATH,
    multiple=True,
    help="Where the .keras files are, known by their hash.  [default: ./models, and what ships with the package]",
)
device_option = click.option("--device", metavar="cuda:N", help="Which GPU, for an engine that uses one.")
threads_option = click.option(
    "--threads", type=click.IntRange(1), help="CPU threads of each.  [default: the engine's choice]"
)
policy_option = click.option(
    "--policy",
    type=click.Choice(("full", "early-exit")),
    default="full",
    show_default=True,
    help="early-exit leaves out members that cannot change the label; accuracy asks both ways and compares.",
)
engines_option = click.option(
    "--engine",
    "engines",
    metavar="NAME,…",
    type=Listed(str),
    default=AUTO,
    show_default=True,
    help=f"All are timed, a report judges on the first: {AUTO}, all (that are usable), or of: {', '.join(ENGINES)}.",
)
against_option = click.option(
    "--against",
    metavar="NAME,…",
    type=Listed(str),
    default="",
    help=f"Peers to be timed beside them: {', '.join(PEERS)}.",
)
batches_option = click.option(
    "--batch",
    "batches",
    metavar="N,…",
    type=Listed(int),
    default="1,8,32",
    show_default=True,
    help="Images at a time.",
)
robustness_option = click.option(
    "--robustness",
    metavar="N",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    help="So many images are asked about again, slightly changed.",
)
margin_option = click.option(
    "--margin",
    metavar="POINTS",
    type=click.FloatRange(0, 100, min_open=True, max_open=True),
    default=_MARGIN_POINTS,
    show_default=True,
    help="How much accuracy may be lost: accepted is what is shown to lose less.",
)


def data_source(asked: Path | None) -> Path | None:
    """What --data names, or the environment."""
    named = os.environ.get(_DATA_VARIABLE)
    return asked or (Path(named) if named else None)


def model_folders(asked: tuple[Path, ...]) -> tuple[Path, ...]:
    """What --models names, or ./models where there is one.

    Raises:
        UsageError: One is no folder.
    """
    for folder in asked:
        if not folder.is_dir():
            raise UsageError(f"--models {folder} is no folder; name the one that holds the .keras files")
    return asked or tuple(folder for folder in (Path("models"),) if folder.is_dir())


def typed_command() -> str:
    """The command line of this process, to be repeated."""
    return shlex.join(["bt-bench", *sys.argv[1:]])
