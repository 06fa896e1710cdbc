"""Compare two files of the same measurement, and find what became worse."""

from dataclasses import dataclass
from pathlib import Path

from braintumor.bench.compare.metrics import MetricsFile, Quantity, read_metrics
from braintumor.errors import UsageError

__all__ = ["Change", "Comparison", "Limits", "compare_files"]

_ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of what a metric may lose.

    Attributes:
        ratio: For times, rates and memory: worse over better, at least 1.
        points: For accuracy, in percentage points, 0 or more.
    """

    ratio: float = 1.1
    points: float = 0.5

    def __post_init__(self) -> None:
        """Check the limits."""
        if not (self.ratio >= 1 and self.points >= 0):
            raise UsageError(f"ratio is {self.ratio} and points {self.points}; must be >= 1 and >= 0")


@dataclass(frozen=True, slots=True)
class Change:
    """A metric in both files.

    Attributes:
        name: Name of the metric.
        quantity: Its kind.
        old: Value in the old file.
        new: Value in the new file.
    """

    name: str
    quantity: Quantity
    old: float | str
    new: float | str

    @property
    def ratio(self) -> float | None:
        """New over old; None for a verdict, and for an old value of 0."""
        if isinstance(self.old, str) or isinstance(self.new, str) or self.old == 0:
            return None
        return self.new / self.old

    def is_worse(self, limits: Limits) -> bool:
        """Whether it became worse by more than the limit; counts are shown and never judged."""
        if isinstance(self.old, str) or isinstance(self.new, str):
            return self.old == _ACCEPTED and self.new != _ACCEPTED
        if self.quantity.judged_by == "points":
            # Rounded: as binary fractions, two accuracies that differ by exactly the limit differ by a little more.
            return round(100 * (self.old - self.new), 9) > limits.points
        if self.quantity.judged_by == "ratio":
            low, high = (self.new, self.old) if self.quantity.more_is_better else (self.old, self.new)
            return high > limits.ratio * low
        return False


@dataclass(frozen=True, slots=True)
class Comparison:
    """The changes between two files.

    Attributes:
        changes: Metrics in both files, in the order of the old one.
        gone: Names of metrics in the old file only.
        added: Names of metrics in the new file only.
        machines: Both machines, in words; "" if they are the same.
        libraries: Name → both versions, of the libraries that differ.
        times_count: Whether times are judged; not across machines, unless it was requested.
        unfinished: Where each of the two runs was cut short, in words; "" if it was finished.
    """

    changes: tuple[Change, ...]
    gone: tuple[str, ...]
    added: tuple[str, ...]
    machines: str
    libraries: dict[str, tuple[str, str]]
    times_count: bool
    unfinished: tuple[str, str] = ("", "")

    def worse(self, limits: Limits) -> tuple[Change, ...]:
        """The changes that became worse by more than the limits."""
        return tuple(
            change
            for change in self.changes
            if change.is_worse(limits) and (self.times_count or not change.quantity.of_the_machine)
        )


def compare_files(old: Path, new: Path, *, across_machines: bool = False) -> Comparison:
    """Compare two files that the same command wrote.

    Args:
        old: JSON of `bt-bench accuracy`, `latency` or `report`, or of `pytest --benchmark-json`.
        new: A later file of the same command.
        across_machines: Judge times although the machines differ.

    Raises:
        UsageError: A file is not there, the two are of different commands or images, or share no metric.
        IntegrityError: A file is damaged, or was not written by one of these commands.
    """
    before, after = read_metrics(old), read_metrics(new)
    if before.schema != after.schema:
        raise UsageError(
            f"{old} is {before.schema} and {new} is {after.schema}", "compare two files that the same command wrote"
        )
    if before.data and after.data and before.data != after.data:
        raise UsageError(
            f"{old} was measured on {before.data} and {new} on {after.data}", "compare two runs over the same images"
        )
    earlier = {metric.name: metric for metric in before.metrics}
    later = {metric.name: metric for metric in after.metrics}
    changes = tuple(
        Change(name, metric.quantity, metric.value, later[name].value)
        for name, metric in earlier.items()
        if name in later
    )
    if not changes:
        raise UsageError(
            f"{old} and {new} have no metric in common", "compare two runs of the same tests, bundles and engines"
        )
    machines = _machines(before, after)
    return Comparison(
        changes=changes,
        gone=tuple(name for name in earlier if name not in later),
        added=tuple(name for name in later if name not in earlier),
        machines=machines,
        libraries={
            name: (before.libraries[name], after.libraries[name])
            for name in before.libraries
            if name in after.libraries and before.libraries[name] != after.libraries[name]
        },
        times_count=across_machines or not machines,
        unfinished=(before.unfinished, after.unfinished),
    )


def _machines(before: MetricsFile, after: MetricsFile) -> str:
    if before.machine == after.machine:
        return ""
    return f"{before.machine or 'an unknown machine'}, and {after.machine or 'an unknown machine'}"
