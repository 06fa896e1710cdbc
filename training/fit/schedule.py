"""The one-cycle learning rate, and the clock that a wall-clock budget is counted with."""

import math
import statistics
import time
from collections import deque
from collections.abc import Callable

__all__ = ["BudgetClock", "one_cycle"]

_START_FACTOR = 0.04
_END_FACTOR = 1e-3


def one_cycle(progress: float, *, peak: float, warmup: float) -> float:
    """Learning rate at a progress of 0 to 1: a linear rise to `peak`, then half a cosine down.

    Follows Smith & Topin 2018, arXiv:1708.07120, with a cosine fall.
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < warmup:
        return peak * (_START_FACTOR + (1 - _START_FACTOR) * progress / warmup)
    fall = (progress - warmup) / (1 - warmup)
    return peak * (_END_FACTOR + (1 - _END_FACTOR) * 0.5 * (1 + math.cos(math.pi * fall)))


class BudgetClock:
    """Seconds spent in training, without the time in which the process was suspended.

    A tick that took more than `outlier` times the median of the recent ones counts as that much only, so that
    a laptop that slept, or a job that was stopped for an hour, does not lose the rest of its schedule. The
    first ticks (compilation) count in full.
    """

    def __init__(
        self, elapsed_s: float = 0.0, *, outlier: float = 8.0, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self.elapsed_s = elapsed_s
        self._outlier = outlier
        self._now = now
        self._recent: deque[float] = deque(maxlen=25)
        self._last = now()

    def tick(self) -> float:
        """Add the time since the last tick and return it in seconds, capped."""
        now = self._now()
        spent = now - self._last
        self._last = now
        if len(self._recent) == self._recent.maxlen:
            spent = min(spent, self._outlier * statistics.median(self._recent))
        self._recent.append(spent)
        self.elapsed_s += spent
        return spent

    def lap(self) -> None:
        """Add the time since the last tick in full: a validation pass, a checkpoint."""
        now = self._now()
        self.elapsed_s += now - self._last
        self._last = now
