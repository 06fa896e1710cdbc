"""Times as they were measured: every sample kept, and what is read from them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from braintumor.errors import UsageError

__all__ = ["Samples", "now_ms", "timed_ms", "timer_overhead_ms"]


@dataclass(frozen=True, slots=True)
class Samples:
    """Times of one thing, in milliseconds, in the order in which they were measured.

    Attributes:
        times_ms: At least one, each finite and 0 or more; none was left out.
    """

    times_ms: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what no clock gives."""
        if not self.times_ms or not all(np.isfinite(self.times_ms)) or min(self.times_ms) < 0:
            raise UsageError(
                f"{len(self.times_ms)} times were given; needed is at least one, all finite and 0 or more"
            )

    def percentile_ms(self, percent: float) -> float:
        """The percentile, 0..100, interpolated linearly (R. J. Hyndman and Y. Fan 1996, type 7)."""
        return float(np.percentile(self.times_ms, percent))

    def images_per_s(self, batch: int) -> float:
        """Throughput over the whole window: the slow samples count as much as the fast ones."""
        return batch * len(self.times_ms) * 1000.0 / max(sum(self.times_ms), 1e-9)

    def to_json(self) -> dict[str, Any]:
        """Summary and raw samples as plain data."""
        return {
            **{f"p{percent}_ms": self.percentile_ms(percent) for percent in (50, 90, 95, 99)},
            "max_ms": max(self.times_ms),
            "samples_ms": list(self.times_ms),
        }


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
