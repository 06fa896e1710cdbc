"""When has enough been measured? When the two halves of the window tell the same."""

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
        min_rounds: Never before; at least 4.
        max_s: The limit in seconds; the window is then called unstable, and kept.
        tolerance: How far the medians of its halves may differ, as a share of the smaller; above 0.
    """

    min_rounds: int = 20
    max_s: float = 30.0
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        """Refuse a window that would say nothing."""
        if self.min_rounds < 4 or self.max_s <= 0 or self.tolerance <= 0:  # noqa: PLR2004 - two a half
            raise UsageError(
                f"a window of {self.min_rounds} rounds, {self.max_s} s, tolerance {self.tolerance} was asked for; "
                "allowed are 4 rounds or more, and seconds and tolerance above 0"
            )


def is_stable(samples: Sequence[float], tolerance: float) -> bool:
    """Whether the medians of the first and the second half differ by at most that share of the smaller."""
    half = len(samples) // 2
    if half < 2:  # noqa: PLR2004 - a median of one is no median
        return False
    low, high = sorted((statistics.median(samples[:half]), statistics.median(samples[half:])))
    return high - low <= tolerance * low


def measure_until_stable(measure: Callable[[], Sequence[float]], window: Window) -> tuple[list[list[float]], bool]:
    """Measure in rounds until every contender is stable, or the time is up.

    Args:
        measure: One round: a time for each contender, in any unit.
        window: When to stop.

    Returns:
        Contender → all its samples in order, and whether all were stable in the end.
    """
    columns: list[list[float]] = []
    start = time.perf_counter()
    while True:
        taken = measure()
        columns = columns or [[] for _ in taken]
        for column, sample in zip(columns, taken, strict=True):
            column.append(sample)
        stable = all(is_stable(column, window.tolerance) for column in columns)
        if len(columns[0]) >= window.min_rounds and stable:
            return columns, True
        if time.perf_counter() - start >= window.max_s:
            return columns, False
