"""When to stop measuring: when the medians of the two halves of the window agree."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from braintumor.errors import UsageError

__all__ = ["Window", "is_stable", "measure_until_stable"]


@dataclass(frozen=True, slots=True)
class Window:
    """When measuring may stop.

    Attributes:
        min_rounds: Least number of rounds, at least 4.
        max_s: Limit in seconds; a window that reaches it is kept, but not stable.
        tolerance: By how much the medians of the halves may differ, as a share of the smaller; > 0.
    """

    min_rounds: int = 20
    max_s: float = 30.0
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.min_rounds < 4 or self.max_s <= 0 or self.tolerance <= 0:  # noqa: PLR2004 - two in each half
            raise UsageError(
                f"a window has {self.min_rounds} rounds, {self.max_s} s and tolerance {self.tolerance}; must be >= 4 "
                "rounds, seconds and tolerance > 0"
            )


def is_stable(samples: Sequence[float], tolerance: float) -> bool:
    """Whether the medians of the first and the second half differ by at most that share of the smaller."""
    half = len(samples) // 2
    if half < 2:  # noqa: PLR2004 - a median of one value says nothing
        return False
    low, high = sorted((statistics.median(samples[:half]), statistics.median(samples[half:])))
    return high - low <= tolerance * low


def measure_until_stable(measure: Callable[[], Sequence[float]], window: Window) -> tuple[list[list[float]], bool]:
    """Measure in rounds until every runner is stable, or the time is up.

    Args:
        measure: Measures one round and returns a time for each runner, in any unit.
        window: When to stop.

    Returns:
        For each runner all its samples in order, and whether all were stable in the end.
    """
    columns: list[list[float]] = []
    start = time.perf_counter()
    while True:
        samples = measure()
        columns = columns or [[] for _ in samples]
        for column, sample in zip(columns, samples, strict=True):
            column.append(sample)
        stable = all(is_stable(column, window.tolerance) for column in columns)
        if len(columns[0]) >= window.min_rounds and stable:
            return columns, True
        if time.perf_counter() - start >= window.max_s:
            return columns, False
