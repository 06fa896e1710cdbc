"""Choosing the threshold of a cascade: the fastest one whose risk is shown to be small on validation images.

Learn then Test (Angelopoulos, Bates, Candès, Jordan and Lei 2021, arXiv:2110.01052) with fixed-sequence testing:
thresholds are tried from the strictest to the loosest, in an order that does not depend on the images, each with
the exact binomial test of "the share of differing labels is above the risk"; the first that cannot be rejected ends
it. All thresholds before it hold together with the stated confidence, so the last of them may be taken.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.data.labelled import LabelledImages
from braintumor.bench.metrics.intervals import clopper_pearson_upper
from braintumor.errors import UsageError
from braintumor.export.int8.images import validation_set
from braintumor.export.options import CascadeOptions
from braintumor.runtime.bundle.load import Bundle
from braintumor.runtime.cascade import Cascade, members_sha256, settled_labels
from braintumor.runtime.ensemble import Ensemble
from braintumor.runtime.members import run_until_settled
from braintumor.runtime.vote import soft_vote, vote_shares

__all__ = ["CONFIDENCE", "Outcome", "choose_cascade", "choose_threshold", "require_enough_images", "run_cascade"]

CONFIDENCE: Final = 0.95

THRESHOLDS: Final[tuple[float, ...]] = tuple(float(1 - rest) for rest in np.geomspace(1e-5, 0.5, 200))
"""Tried in this order."""

_BATCH: Final = 32


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a cascade does to images.

    Attributes:
        labels_differing: Number of images whose label differs from the full vote.
        members_run_mean: Mean number of members that ran on an image.
    """

    labels_differing: int
    members_run_mean: float


def require_enough_images(options: CascadeOptions, classes: Sequence[str], members: int) -> None:
    """Refuse, before minutes of work, what no threshold can be chosen with.

    Raises:
        UsageError: One member only, or too few images to show the risk even if no label differs.
    """
    if members == 1:
        raise UsageError("a cascade needs two members or more", "leave `cascade` out")
    count = len(validation_set(options.images, classes))
    needed = math.ceil(math.log(1 - CONFIDENCE) / math.log(1 - options.risk))
    if count < needed:
        raise UsageError(
            f"{options.images} has {count} images; to show a risk of {options.risk:.2%} takes {needed}",
            "name more images with `cascade`, or accept a larger `risk`",
        )


def choose_cascade(bundle: Bundle, options: CascadeOptions, costs: Sequence[float]) -> Cascade:
    """Choose the order and the threshold for a bundle on validation images.

    Args:
        bundle: Verified.
        options: Images and risk.
        costs: Of each member, in any unit: the cheapest runs first.

    Raises:
        UsageError: The risk cannot be shown.
        InputError: An image cannot be read.
    """
    images = validation_set(options.images, bundle.classes)
    order = sorted(range(len(costs)), key=lambda index: (costs[index], index))
    probabilities = _probabilities(bundle, images)
    threshold, outcome = choose_threshold(probabilities, bundle.weights, order, options.risk)
    return Cascade(
        order=tuple(bundle.members[index].name for index in order),
        threshold=threshold,
        risk=options.risk,
        confidence=CONFIDENCE,
        images=len(images),
        labels_differing=outcome.labels_differing,
        members_run_mean=outcome.members_run_mean,
        images_sha256=images.sha256,
        members_sha256=members_sha256([(member.sha256, member.weight) for member in bundle.members]),
    )


def choose_threshold(
    probabilities: NDArray[np.float32], weights: Sequence[float], order: Sequence[int], risk: float
) -> tuple[float, Outcome]:
    """Find the loosest threshold that is shown to keep the risk.

    Args:
        probabilities: float32 [members, images, classes], of all members.
        weights: One a member.
        order: Indices of the members, in the order in which they run.
        risk: Share of labels that may differ from the full vote.

    Raises:
        UsageError: Not even the strictest threshold is shown to keep it.
    """
    chosen = None
    for threshold in THRESHOLDS:
        outcome = run_cascade(probabilities, weights, order, threshold)
        if clopper_pearson_upper(outcome.labels_differing, probabilities.shape[1], CONFIDENCE) > risk:
            break
        chosen = threshold, outcome
    if chosen is None:
        raise UsageError(
            f"the surest members differ from the full vote on {outcome.labels_differing} of {probabilities.shape[1]} "
            f"images: a risk of {risk:.2%} cannot be shown",
            "accept a larger `risk`, or leave `cascade` out",
        )
    return chosen


def run_cascade(
    probabilities: NDArray[np.float32], weights: Sequence[float], order: Sequence[int], threshold: float
) -> Outcome:
    """Run a cascade on recorded probabilities, float32 [members, images, classes]."""
    predictions = run_until_settled(
        lambda index, rows: probabilities[index, rows],
        order,
        vote_shares(weights),
        (probabilities.shape[1], probabilities.shape[2]),
        functools.partial(settled_labels, threshold=threshold),
    )
    # Members that did not run give each class 0.
    labels, full = (soft_vote(part, weights).argmax(axis=-1) for part in (predictions.probabilities, probabilities))
    return Outcome(int((labels != full).sum()), float(predictions.ran.sum(axis=0).mean()))


def _probabilities(bundle: Bundle, images: LabelledImages) -> NDArray[np.float32]:
    with Ensemble.load(bundle) as ensemble:
        batches = images.batches(set(ensemble.geometries), _BATCH)
        parts = [ensemble.probabilities(batch) for batch in batches]
    return np.concatenate(parts, axis=1)
