"""Options that several commands of `bt-bench` share."""

import os
import shlex
import sys
from pathlib import Path
from typing import Final

import click

from braintumor.bench.comma_separated import CommaSeparated
from braintumor.bench.latency.runners.registry import BASELINES
from braintumor.errors import UsageError
from braintumor.runtime.engines.registry import AUTO, ENGINES

__all__ = [
    "PATH",
    "REFUSED",
    "baseline_option",
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
"""Exit code when a bundle is refused, or too few images show nothing."""

PATH: Final = click.Path(path_type=Path)

# Repeated here so that --help loads no NumPy; `bench.data.labelled` and `bench.accuracy.gate` define the same.
_DATA_VARIABLE: Final = "BRAINTUMOR_DATA"
_MARGIN_POINTS: Final = 0.5

data_option = click.option(
    "--data",
    metavar="DIR|NPZ",
    type=PATH,
    help="Images by class: a folder, or the test part of a file of bt-data prepare.  "
    f"[default: ${_DATA_VARIABLE}; latency times phantoms without]",
)
models_option = click.option(
    "--models",
    metavar="DIR",
    type=PATH,
    multiple=True,
    help="Folders of the .keras files, found by their hash.  [default: ./models, and the models of the package]",
)
device_option = click.option("--device", metavar="cuda:N", help="GPU of an engine that uses one.")
threads_option = click.option(
    "--threads", type=click.IntRange(1), help="CPU threads of each.  [default: the engine's choice]"
)
policy_option = click.option(
    "--policy",
    type=click.Choice(("full", "early-exit", "cascade")),
    default="full",
    show_default=True,
    help="early-exit leaves out members that cannot change the label, cascade those not needed to be sure; accuracy "
    "runs both and compares.",
)
engines_option = click.option(
    "--engine",
    "engines",
    metavar="NAME,…",
    type=CommaSeparated(str),
    default=AUTO,
    show_default=True,
    help=f"Engines to time, a report judges on the first: {AUTO}, all (usable), or of: {', '.join(ENGINES)}.",
)
baseline_option = click.option(
    "--baseline",
    "--against",
    "baselines",
    metavar="NAME,…",
    type=CommaSeparated(str),
    default="",
    help=f"Other programs to time beside them: {', '.join(BASELINES)}.",
)
batches_option = click.option(
    "--batch",
    "batches",
    metavar="N,…",
    type=CommaSeparated(int),
    default="1,8,32",
    show_default=True,
    help="Batch sizes.",
)
robustness_option = click.option(
    "--robustness",
    metavar="N",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    help="Number of images that are run again, slightly changed.",
)
margin_option = click.option(
    "--margin",
    metavar="POINTS",
    type=click.FloatRange(0, 100, min_open=True, max_open=True),
    default=_MARGIN_POINTS,
    show_default=True,
    help="Accuracy that may be lost. Accepted means: less is, with 95 % confidence, and no other check fails.",
)


def data_source(data: Path | None) -> Path | None:
    """The value of --data, or of the environment variable."""
    default = os.environ.get(_DATA_VARIABLE)
    return data or (Path(default) if default else None)


def model_folders(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    """The values of --models, or ./models if it is there.

    Raises:
        UsageError: One is not a folder.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder", "name the folder of the .keras files with `models`")
    return folders or tuple(folder for folder in (Path("models"),) if folder.is_dir())


def typed_command() -> str:
    """The command line of this process."""
    return shlex.join(["bt-bench", *sys.argv[1:]])
