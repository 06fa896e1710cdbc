"""Intervals of shares, and intervals and tests of the difference between two paired sets of labels.

    share       correct of total             Clopper & Pearson 1934, exact
    difference  paired labels, right/wrong   McNemar's test, exact; Tango's score interval; bootstrap
    verdict     not worse by a margin        the one-sided lower end of Tango's interval against the margin

The module is not called `statistics`: a script that is started in this folder would import it in place of Python's.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import UsageError
from braintumor.optional import require

__all__ = [
    "CONFIDENCE",
    "Pairs",
    "Share",
    "bootstrap_interval",
    "clopper_pearson",
    "clopper_pearson_lower",
    "clopper_pearson_upper",
    "images_needed",
    "mcnemar_p",
    "tango_interval",
    "tango_lower",
]

CONFIDENCE: Final = 0.95
"""Default of every interval and bound here, one-sided or two-sided."""

_RESAMPLES: Final = 10_000
_SEED: Final = 1
# Bisections of an interval that is at most 2 wide: far below the resolution of float64.
_BISECTIONS: Final = 80


def clopper_pearson(correct: int, total: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The exact binomial interval of a share (Clopper & Pearson 1934, Biometrika 26:404-413).

    Args:
        correct: 0 to total.
        total: 1 and more.
        confidence: The interval covers the true share with at least this probability.
    """
    one_sided = (1 + confidence) / 2
    return clopper_pearson_lower(correct, total, one_sided), clopper_pearson_upper(correct, total, one_sided)


def clopper_pearson_lower(correct: int, total: int, confidence: float = CONFIDENCE) -> float:
    """The exact one-sided lower bound of a share: 703 of 703 is at least 99.57 %."""
    _check_share(correct, total)
    if correct == 0:
        return 0.0
    return float(_stats().beta.ppf(1 - confidence, correct, total - correct + 1))


def clopper_pearson_upper(correct: int, total: int, confidence: float = CONFIDENCE) -> float:
    """The exact one-sided upper bound of a share: 0 of 703 is at most 0.43 %."""
    _check_share(correct, total)
    if correct == total:
        return 1.0
    return float(_stats().beta.ppf(confidence, correct + 1, total - correct))


def _check_share(correct: int, total: int) -> None:
    if not 0 <= correct <= total or total < 1:
        raise UsageError(f"{correct} of {total} is not a share; must be 0 to all, of at least one")


def _stats() -> Any:
    return require("scipy.stats", extra="bench", purpose="intervals and tests")


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its interval.

    Attributes:
        count: 0 to total.
        total: 1 and more.
        share: Count / total.
        interval: Clopper-Pearson, two-sided.
    """

    count: int
    total: int
    share: float
    interval: tuple[float, float]

    @classmethod
    def of(cls, count: int, total: int) -> "Share":
        """The share count / total, with its interval.

        Raises:
            UsageError: Count is not 0 to total, or total not at least 1.
        """
        interval = clopper_pearson(count, total)
        return cls(count, total, count / total, interval)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Counts of right labels in two sets of labels of the same images.

    Attributes:
        both_right: Images that are right in both.
        only_first: Images that are right in the first only.
        only_second: Images that are right in the second only.
        both_wrong: Images that are wrong in both.
    """

    both_right: int
    only_first: int
    only_second: int
    both_wrong: int

    @classmethod
    def of(cls, first: NDArray[np.bool_], second: NDArray[np.bool_]) -> "Pairs":
        """Count two bool [n], whether the label of each image is right; n at least 1.

        Raises:
            UsageError: The two differ in length, or are empty.
        """
        if first.shape != second.shape or first.size == 0:
            raise UsageError(
                f"{first.shape} and {second.shape} are not pairs; must be of the same length, at least 1"
            )
        return cls(
            int((first & second).sum()),
            int((first & ~second).sum()),
            int((~first & second).sum()),
            int((~first & ~second).sum()),
        )

    @property
    def images(self) -> int:
        """Number of pairs."""
        return self.both_right + self.only_first + self.only_second + self.both_wrong

    @property
    def difference(self) -> float:
        """Accuracy of the second minus that of the first, -1..1: below 0, the second is worse."""
        return (self.only_second - self.only_first) / self.images


def mcnemar_p(pairs: Pairs) -> float:
    """The two-sided p-value of McNemar's exact test: a binomial test of the pairs that differ.

    Q. McNemar 1947, Psychometrika 12:153-157; exact form as in M. W. Fagerland, S. Lydersen, P. Laake 2013, BMC
    Medical Research Methodology 13:91. 1 when no pair differs.
    """
    differing = pairs.only_first + pairs.only_second
    return float(_stats().binomtest(pairs.only_first, differing).pvalue) if differing else 1.0


def tango_interval(pairs: Pairs, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The score interval of the difference of two paired shares, of the second less the first.

    T. Tango 1998, Statistics in Medicine 17:891-908. Unlike Wald's interval, or a bootstrap, it does not shrink to
    zero when no pair differs: it is then ± z² / (n + z²).
    """
    one_sided = (1 + confidence) / 2
    swapped = Pairs(pairs.both_right, pairs.only_second, pairs.only_first, pairs.both_wrong)
    return tango_lower(pairs, one_sided), -tango_lower(swapped, one_sided)


def tango_lower(pairs: Pairs, confidence: float = CONFIDENCE) -> float:
    """The one-sided lower end of Tango's interval: by how much the second may be worse than the first.

    The difference at which the score statistic reaches the normal quantile; the statistic falls as the difference
    grows, so bisection finds it.
    """
    quantile = _normal_quantile(confidence)
    low, high = -1.0, pairs.difference
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _score(pairs, middle) > quantile:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _score(pairs: Pairs, difference: float) -> float:
    """Tango's statistic for the hypothesis that the true difference is this one (his equations 2.7 and 2.8)."""
    count, gained, lost = pairs.images, pairs.only_second, pairs.only_first
    square = 2 * count
    linear = -gained - lost + (2 * count - gained + lost) * difference
    constant = -lost * difference * (1 - difference)
    root = math.sqrt(max(linear * linear - 4 * square * constant, 0.0))
    losing = (root - linear) / (2 * square)
    variance = count * (2 * losing + difference * (1 - difference))
    excess = gained - lost - count * difference
    if variance <= 0:
        return math.copysign(math.inf, excess) if excess else 0.0
    return excess / math.sqrt(variance)


def _normal_quantile(probability: float) -> float:
    return float(_stats().norm.ppf(probability))


def images_needed(margin: float, confidence: float = CONFIDENCE) -> int:
    """The least number of images that can show a loss of less than `margin`, if no label differs at all.

    Args:
        margin: A difference of accuracy, 0..1.
        confidence: Of the one-sided bound.
    """
    square = _normal_quantile(confidence) ** 2
    return math.floor(square * (1 - margin) / margin) + 1


def bootstrap_interval(
    pairs: Pairs, confidence: float = CONFIDENCE, *, resamples: int = _RESAMPLES, seed: int = _SEED
) -> tuple[float, float]:
    """The percentile interval of the difference over resampled images (B. Efron 1979, Annals of Statistics 7:1-26).

    Drawing images with replacement draws the counts of the four kinds of pairs from a multinomial distribution, so
    the counts are drawn. If no pair differs it is (0, 0), however few images there are: it is for information and
    does not decide a verdict.
    """
    kinds = np.array([pairs.only_first, pairs.only_second, pairs.both_right + pairs.both_wrong], np.float64)
    drawn = np.random.default_rng(seed).multinomial(pairs.images, kinds / pairs.images, size=resamples)
    differences = (drawn[:, 1] - drawn[:, 0]) / pairs.images
    low, high = np.quantile(differences, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
