"""The ratio of the times of two runners that were measured in turns, with an interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from braintumor.bench.document import Positive
from braintumor.errors import UsageError

__all__ = ["Ratio", "paired_ratio"]

_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Ratio:
    """Time of the second over that of the first; above 1, the first is faster.

    Attributes:
        median: Of the ratios of the pairs.
        low: Lower end of the 95 % interval.
        high: Upper end.
        pairs: Number of pairs.
    """

    median: Positive
    low: Positive
    high: Positive
    pairs: int


def paired_ratio(first: Sequence[float], second: Sequence[float], *, seed: int = 0) -> Ratio:
    """Second over first, pair by pair; the interval is the percentile bootstrap of the median (Efron 1979).

    Args:
        first: Times, each > 0.
        second: As many times, each measured right before or after its partner.
        seed: Of the resampling.

    Raises:
        UsageError: No pairs, different numbers of times, or a time that is not > 0.
    """
    if not first or len(first) != len(second) or min(*first, *second) <= 0:
        raise UsageError(f"{len(first)} and {len(second)} times are not pairs; must be the same number, all > 0")
    ratios = np.asarray(second, np.float64) / np.asarray(first, np.float64)
    drawn = np.random.default_rng(seed).integers(0, len(ratios), (_RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(ratios[drawn], axis=1), (2.5, 97.5))
    return Ratio(float(np.median(ratios)), float(low), float(high), len(ratios))
