"""What moved between two measurements of the same thing, and whether it moved for the worse."""

from dataclasses import dataclass
from pathlib import Path

from braintumor.bench.compare.metrics import Quantity, Reading, Readings, read_readings
from braintumor.errors import UsageError

__all__ = ["Change", "Comparison", "Limits", "compare_files"]

_ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a figure may move for the worse.

    Attributes:
        ratio: For times, rates and memory: worse over better, at least 1.
        points: For accuracy, in percentage points, 0 or more.
    """

    ratio: float = 1.1
    points: float = 0.5

    def __post_init__(self) -> None:
        """Refuse limits that every figure would break."""
        if not (self.ratio >= 1 and self.points >= 0):
            raise UsageError(
                f"a ratio of {self.ratio} and {self.points} points were asked for; allowed are 1 or more, 0 or more"
            )


@dataclass(frozen=True, slots=True)
class Change:
    """One figure, before and after.

    Attributes:
        name: What it is of.
        quantity: What it is.
        old: Before.
        new: Now.
    """

    name: str
    quantity: Quantity
    old: float | str
    new: float | str

    @property
    def ratio(self) -> float | None:
        """New over old; None for what has no ratio: verdicts, counts, and what was 0."""
        if isinstance(self.old, str) or isinstance(self.new, str) or self.old == 0:
            return None
        return self.new / self.old

    def is_worse(self, limits: Limits) -> bool:
        """Whether it moved for the worse by more than is allowed; a count is shown and never judged."""
        if isinstance(self.old, str) or isinstance(self.new, str):
            return self.old == _ACCEPTED and self.new != _ACCEPTED
        if self.quantity.judged == "points":
            # Rounded: two accuracies that differ by exactly the limit differ by a little more as binary fractions.
            return round(100 * (self.old - self.new), 9) > limits.points
        if self.quantity.judged == "ratio":
            low, high = (self.new, self.old) if self.quantity.more_is_better else (self.old, self.new)
            return high > limits.ratio * low
        return False


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two files, compared.

    Attributes:
        changes: The figures that both hold, in the old one's order.
        gone: Figures that only the old one holds.
        added: Figures that only the new one holds.
        machines: How the machines differ, as text; empty when they are the same.
        libraries: Name → versions before and after, of those that differ.
        times_count: Whether a slower time is judged: not across machines.
        unfinished: Where each of the two runs was cut short, in words; "" for a whole one.
    """

    changes: tuple[Change, ...]
    gone: tuple[str, ...]
    added: tuple[str, ...]
    machines: str
    libraries: dict[str, tuple[str, str]]
    times_count: bool
    unfinished: tuple[str, str] = ("", "")

    def worse(self, limits: Limits) -> tuple[Change, ...]:
        """What moved for the worse by more than is allowed."""
        return tuple(
            change
            for change in self.changes
            if change.is_worse(limits) and (self.times_count or not change.quantity.of_the_machine)
        )


def compare_files(old: Path, new: Path, *, across_machines: bool = False) -> Comparison:
    """Compare two files that the same command wrote.

    Args:
        old: JSON of `bt-bench accuracy`, `latency` or `report`, or of `pytest --benchmark-json`.
        new: The same, later.
        across_machines: Judge times although the machines differ.

    Raises:
        UsageError: A file is not there, they are of different kinds or data, or share no figure.
        IntegrityError: A file is damaged, or something else.
    """
    before, after = read_readings(old), read_readings(new)
    if before.schema != after.schema:
        raise UsageError(
            f"{old} is {before.schema} and {new} is {after.schema}; compare two files that the same command wrote"
        )
    if before.data and after.data and before.data != after.data:
        raise UsageError(
            f"{old} was measured on {before.data} and {new} on {after.data}; compare two runs over the same images"
        )
    earlier = {reading.name: reading for reading in before.readings}
    later = {reading.name: reading for reading in after.readings}
    found = tuple(_change(earlier[name], later[name]) for name in earlier if name in later)
    if not found:
        raise UsageError(f"{old} and {new} share no figure; compare two runs of the same tests, bundles and engines")
    machines = _machines(before, after)
    return Comparison(
        changes=found,
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


def _change(old: Reading, new: Reading) -> Change:
    return Change(old.name, old.quantity, old.value, new.value)


def _machines(before: Readings, after: Readings) -> str:
    if before.machine == after.machine:
        return ""
    return f"{before.machine or 'a machine that is not told'}, and {after.machine or 'a machine that is not told'}"
