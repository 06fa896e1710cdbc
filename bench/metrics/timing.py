"""Times as they were measured: every sample kept, and what is read from them."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from braintumor.errors import UsageError

__all__ = ["Samples", "now_ms", "timed_ms", "timer_overhead_ms"]


@dataclass(frozen=True, slots=True)
class Samples:
    """Times of one thing, in milliseconds, and what is read from them.

    Attributes:
        p50_ms: Median.
        p90_ms: Percentile, interpolated linearly (R. J. Hyndman and Y. Fan 1996, type 7), as the others.
        p95_ms: Percentile.
        p99_ms: Percentile.
        max_ms: The slowest.
        samples_ms: In the order in which they were measured; at least one, and none was left out.
    """

    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    samples_ms: tuple[float, ...]

    @classmethod
    def of(cls, times_ms: Iterable[float]) -> "Samples":
        """What was measured.

        Args:
            times_ms: At least one, each finite and 0 or more.

        Raises:
            UsageError: They are what no clock gives.
        """
        found = tuple(times_ms)
        if not found or not all(np.isfinite(found)) or min(found) < 0:
            raise UsageError(f"{len(found)} times were given; needed is at least one, all finite and 0 or more")
        p50_ms, p90_ms, p95_ms, p99_ms = (float(np.percentile(found, percent)) for percent in (50, 90, 95, 99))
        return cls(p50_ms, p90_ms, p95_ms, p99_ms, max(found), found)

    def images_per_s(self, batch: int) -> float:
        """Throughput over the whole window: the slow samples count as much as the fast ones."""
        return batch * len(self.samples_ms) * 1000.0 / max(sum(self.samples_ms), 1e-9)


def now_ms() -> float:
    """The monotonic clock of the highest resolution, from a start of its own: only differences mean something."""
    return time.perf_counter_ns() / 1e6


def timed_ms(call: Callable[[], object]) -> float:
    """How long one call takes."""
    start = now_ms()
    call()
    return now_ms() - start


def timer_overhead_ms(repeats: int = 1000) -> float:
    """What `timed_ms` itself adds to a time: the median over calls of nothing."""
    times: Sequence[float] = [timed_ms(_nothing) for _ in range(repeats)]
    return float(np.median(times))


def _nothing() -> None:
    return None
