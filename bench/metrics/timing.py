"""Samples of times, and their percentiles."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from braintumor.errors import UsageError

__all__ = ["Samples", "now_ms", "timed_ms", "timer_overhead_ms"]


@dataclass(frozen=True, slots=True)
class Samples:
    """Times of the same operation, in milliseconds, with their percentiles.

    Attributes:
        p50_ms: Median.
        p90_ms: Percentile, interpolated linearly (R. J. Hyndman and Y. Fan 1996, type 7), as the others.
        p95_ms: Percentile.
        p99_ms: Percentile.
        max_ms: The slowest.
        samples_ms: All samples in their order, at least one.
    """

    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    samples_ms: tuple[float, ...]

    @classmethod
    def of(cls, times_ms: Iterable[float]) -> "Samples":
        """Compute the percentiles of times.

        Args:
            times_ms: At least one, each finite and >= 0.

        Raises:
            UsageError: There are none, or one is negative or not finite.
        """
        samples_ms = tuple(times_ms)
        if not samples_ms or not all(np.isfinite(samples_ms)) or min(samples_ms) < 0:
            raise UsageError(f"{len(samples_ms)} times; must be at least one, all finite and >= 0")
        p50_ms, p90_ms, p95_ms, p99_ms = (float(np.percentile(samples_ms, percent)) for percent in (50, 90, 95, 99))
        return cls(p50_ms, p90_ms, p95_ms, p99_ms, max(samples_ms), samples_ms)

    def images_per_s(self, batch: int) -> float:
        """Throughput over the whole window: the slow samples count as much as the fast ones."""
        return batch * len(self.samples_ms) * 1000.0 / max(sum(self.samples_ms), 1e-9)


def now_ms() -> float:
    """The monotonic clock of the highest resolution; only differences between two calls have a meaning."""
    return time.perf_counter_ns() / 1e6


def timed_ms(call: Callable[[], object]) -> float:
    """Time of one call."""
    start = now_ms()
    call()
    return now_ms() - start


def timer_overhead_ms(repeats: int = 1000) -> float:
    """Time that `timed_ms` itself adds: the median over calls that do nothing."""
    times: Sequence[float] = [timed_ms(_do_nothing) for _ in range(repeats)]
    return float(np.median(times))


def _do_nothing() -> None:
    return None
