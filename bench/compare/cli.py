"""`bt-bench compare`: changes between two runs, as a gate for CI."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from braintumor.command import EPILOG, Command, debug_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from braintumor.bench.compare.compare import Change, Comparison, Limits

__all__ = ["compare"]

_WORSE = 3
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(cls=Command, epilog=EPILOG)
@click.argument("old", type=_FILE)
@click.argument("new", type=_FILE)
@click.option(
    "--max-ratio",
    type=click.FloatRange(1),
    default=1.1,
    show_default=True,
    help="From which a time, a rate or a memory counts as worse.",
)
@click.option(
    "--max-points",
    type=click.FloatRange(0),
    default=0.5,
    show_default=True,
    help="By how many percentage points an accuracy may fall.",
)
@click.option("--across-machines", is_flag=True, help="Judge times although the machines differ.")
@debug_option
def compare(*, old: Path, new: Path, max_ratio: float, max_points: float, across_machines: bool) -> None:
    """Show what moved from OLD to NEW: two files of bt-bench accuracy, latency or report, or of pytest-benchmark.

    Exit code 3 when something became worse by more than is allowed, a verdict was lost, or NEW was cut short. Times
    of two different machines are shown, and judged only with --across-machines.
    """
    from braintumor.bench.compare.compare import Limits, compare_files

    limits = Limits(max_ratio, max_points)
    comparison = compare_files(old, new, across_machines=across_machines)
    for line in _lines(comparison, limits):
        click.echo(line)
    if comparison.worse(limits) or comparison.unfinished[1]:
        sys.exit(_WORSE)


def _lines(comparison: "Comparison", limits: "Limits") -> "Iterator[str]":
    worse = comparison.worse(limits)
    for name, unfinished in zip(("OLD", "NEW"), comparison.unfinished, strict=True):
        if unfinished:
            yield f"{name} was cut short {unfinished}: only what it holds is compared; measure again to have the rest"
    if comparison.machines:
        note = "judged all the same" if comparison.times_count else "not judged (--across-machines does)"
        yield f"the machines differ: {comparison.machines}: times, rates and memory are {note}"
    if comparison.libraries:
        yield "versions: " + ", ".join(f"{name} {a} -> {b}" for name, (a, b) in comparison.libraries.items())
    width = max(len(change.name) for change in comparison.changes)
    # What became worse comes first, then the largest changes.
    for change in sorted(comparison.changes, key=lambda change: (change not in worse, -_badness(change))):
        yield f"{change.name:<{width}}  {_movement(change)}{'  WORSE' if change in worse else ''}"
    for names, where in ((comparison.gone, "in the old file"), (comparison.added, "in the new file")):
        if names:
            yield f"{len(names)} only {where}: {', '.join(names)}"
    yield (
        f"{len(worse)} of {len(comparison.changes)} worse: beyond {limits.ratio:g} x, {limits.points:g} points of "
        "accuracy, or a verdict lost"
    )


def _badness(change: "Change") -> float:
    """The ratio by which it became worse."""
    if change.ratio is None or change.ratio <= 0:
        return float(change.old != change.new)
    return 1 / change.ratio if change.quantity.more_is_better else change.ratio


def _movement(change: "Change") -> str:
    text = f"{change.quantity.text(change.old):>16} -> {change.quantity.text(change.new):<16}"
    if change.quantity.judged_by == "ratio" and change.ratio is not None:
        return f"{text} {change.ratio:6.3f} x"
    if change.quantity.judged_by == "points":
        assert not isinstance(change.old, str) and not isinstance(change.new, str)  # noqa: S101, PT018 - points are numbers
        return f"{text} {100 * (change.new - change.old):+.2f} points"
    return text.rstrip()
