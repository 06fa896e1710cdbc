"""`bt-bench compare`: what moved between two runs of the benchmarks, as a gate for CI."""

import sys
from pathlib import Path

import click

from braintumor.command import EPILOG, Command, debug_option

__all__ = ["compare"]

_SLOWER = 3
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(cls=Command, epilog=EPILOG)
@click.argument("old", type=_FILE)
@click.argument("new", type=_FILE)
@click.option(
    "--max-ratio",
    type=click.FloatRange(min=1),
    default=1.1,
    show_default=True,
    help="New median over old one from which a benchmark counts as slower.",
)
@debug_option
def compare(*, old: Path, new: Path, max_ratio: float) -> None:
    """Show what moved from OLD to NEW, two files of `pytest --benchmark-json`.

    Exit code 3 when a benchmark became slower by more than --max-ratio.
    """
    from braintumor.bench.compare import changes

    found = changes(old, new)
    width = max(len(change.name) for change in found)
    for change in sorted(found, key=lambda one: -one.ratio):
        verdict = "  slower" if change.ratio > max_ratio else ""
        click.echo(f"{change.name:<{width}}  {change.ratio:6.3f} x{verdict}")
    slower = sum(change.ratio > max_ratio for change in found)
    click.echo(f"{slower} of {len(found)} slower by more than {max_ratio:g} x")
    if slower:
        sys.exit(_SLOWER)
