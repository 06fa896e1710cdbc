"""Paired metrics of two sets of predictions of the same images: right labels, flips, differences."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.metrics.classification import NON_FINITE, kl_divergence, predicted_labels
from braintumor.bench.metrics.intervals import (
    Pairs,
    Share,
    bootstrap_interval,
    clopper_pearson_upper,
    mcnemar_p,
    tango_interval,
    tango_lower,
)

__all__ = ["FlipShare", "PairedMetrics", "leads", "paired_metrics"]


@dataclass(frozen=True, slots=True)
class FlipShare(Share):
    """Share of labels that differ.

    Attributes:
        upper_one_sided: Clopper-Pearson, 95 %.
    """

    upper_one_sided: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedMetrics:
    """A deployed model beside its reference; differences are None if a probability is not finite.

    Attributes:
        both_right: Images that are right in both.
        only_reference_right: Images that are right in the reference only.
        only_deployed_right: Images that are right in the deployed only.
        both_wrong: Images that are wrong in both.
        accuracy_difference_points: Accuracy of the deployed minus that of the reference, in percentage points.
        tango_interval_points: Of that difference, two-sided, 95 %.
        tango_lower_one_sided_points: Its lower end, one-sided, 95 %.
        bootstrap_interval_points: Of that difference, for information.
        mcnemar_p: Exact, two-sided.
        flips: Images whose label differs.
        max_abs_difference: max |Δp| over images and classes.
        mean_abs_difference: mean |Δp|.
        kl_mean_nats: Mean over images of sum r ln(r / p).
        kl_max_nats: Largest over images.
        reference_margin_mean: Mean lead of the winner over the runner-up in the reference.
        margin_mean: The same in the deployed.
    """

    both_right: int
    only_reference_right: int
    only_deployed_right: int
    both_wrong: int
    accuracy_difference_points: float
    tango_interval_points: tuple[float, float]
    tango_lower_one_sided_points: float
    bootstrap_interval_points: tuple[float, float]
    mcnemar_p: float
    flips: FlipShare
    max_abs_difference: float | None
    mean_abs_difference: float | None
    kl_mean_nats: float | None
    kl_max_nats: float | None
    reference_margin_mean: float | None
    margin_mean: float | None

    @property
    def pairs(self) -> Pairs:
        """Counts of right labels: the reference first, the deployed second."""
        return Pairs(self.both_right, self.only_reference_right, self.only_deployed_right, self.both_wrong)


def paired_metrics(
    reference: NDArray[np.float32], deployed: NDArray[np.float32], labels: NDArray[np.int64]
) -> PairedMetrics:
    """Compare float32 [n, classes] with float32 [n, classes], n at least 1; int64 [n] are the true labels."""
    before, after = predicted_labels(reference), predicted_labels(deployed)
    pairs = Pairs.of(before == labels, after == labels)
    finite = not ((before == NON_FINITE).any() or (after == NON_FINITE).any())
    first, second = reference.astype(np.float64), deployed.astype(np.float64)
    difference = np.abs(second - first) if finite else None
    divergence = kl_divergence(first, second) if finite else None
    return PairedMetrics(
        both_right=pairs.both_right,
        only_reference_right=pairs.only_first,
        only_deployed_right=pairs.only_second,
        both_wrong=pairs.both_wrong,
        accuracy_difference_points=100 * pairs.difference,
        tango_interval_points=_points(tango_interval(pairs)),
        tango_lower_one_sided_points=100 * tango_lower(pairs),
        bootstrap_interval_points=_points(bootstrap_interval(pairs)),
        mcnemar_p=mcnemar_p(pairs),
        flips=_flip_share(int((before != after).sum()), len(labels)),
        max_abs_difference=None if difference is None else float(difference.max()),
        mean_abs_difference=None if difference is None else float(difference.mean()),
        kl_mean_nats=None if divergence is None else float(divergence.mean()),
        kl_max_nats=None if divergence is None else float(divergence.max()),
        reference_margin_mean=float(leads(first).mean()) if finite else None,
        margin_mean=float(leads(second).mean()) if finite else None,
    )


def _points(interval: tuple[float, float]) -> tuple[float, float]:
    low, high = interval
    return 100 * low, 100 * high


def _flip_share(count: int, total: int) -> FlipShare:
    share = Share.of(count, total)
    return FlipShare(count, total, share.share, share.interval, clopper_pearson_upper(count, total))


def leads(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """[...]: the lead of the winner over the runner-up, of [..., classes]."""
    ordered = np.sort(probabilities, axis=-1)
    lead: NDArray[np.float64] = ordered[..., -1] - ordered[..., -2]
    return lead
