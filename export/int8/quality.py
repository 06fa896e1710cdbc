"""Quality of a quantised model, or vote, beside its FP32 original, and how much of it may be lost."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Answers", "Limits", "QuantizationQuality", "expected_flips", "low_margin", "quantization_quality"]

_TINY: Final = 1e-9
# Images of the smallest leads: enough for a rate, few enough to have small ones.
_LOW_MARGIN: Final = 51

Answers = NDArray[np.float32]
"""float32 [images, classes], softmax."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of what int8 may cost, on validation images.

    Attributes:
        vote_flips: Part of the images whose label in the vote may change, 0..1.
        vote_expected_flips: Part whose label is expected to change in the vote, 0..1; see `expected_flips`. Flips
            that were counted are too few to judge by: where 3 in 703 are expected, one search in twenty counts none.
            At 0.05 %, two or more of 703 change in one of twenty cases (Poisson, 0.35 expected).
        vote_accuracy_drop: By how much the vote's accuracy may fall, 0..1.
        member_flips: Part of the images whose label may change in one member, 0..1: a vote must not hide a failing
            member.
        member_accuracy_drop: By how much a member's accuracy may fall, 0..1.
    """

    vote_flips: float = 0.005
    vote_expected_flips: float = 0.0005
    vote_accuracy_drop: float = 0.0015
    member_flips: float = 0.02
    member_accuracy_drop: float = 0.01


@dataclass(frozen=True, slots=True)
class QuantizationQuality:
    """A quantised model, or vote, beside its FP32 original.

    Attributes:
        images: Number of images.
        accuracy: Part that is right, 0..1.
        accuracy_fp32: The original's.
        flips: Images whose label differs from the original's.
        expected_flips: Part of the images whose label is expected to differ, 0..1.
        divergence_nats: Mean KL(original, quantised).
        mean_abs_difference: mean |Δp|, 0..1.
        max_abs_difference: max |Δp|, 0..1.
    """

    images: int
    accuracy: float
    accuracy_fp32: float
    flips: int
    expected_flips: float
    divergence_nats: float
    mean_abs_difference: float
    max_abs_difference: float

    def within(self, flips: float, drop: float) -> bool:
        """Not more than these parts of the images flipped, and of the accuracy lost."""
        lost = self.accuracy_fp32 - self.accuracy
        return self.flips <= flips * self.images and lost <= drop + _TINY


def quantization_quality(answers: Answers, reference: Answers, labels: NDArray[np.int64]) -> QuantizationQuality:
    """Compare float32 [n, classes] answers with a reference's, given the truth int64 [n]."""
    p, q = reference.astype(np.float64) + _TINY, answers.astype(np.float64) + _TINY
    return QuantizationQuality(
        images=len(labels),
        accuracy=float((answers.argmax(axis=1) == labels).mean()),
        accuracy_fp32=float((reference.argmax(axis=1) == labels).mean()),
        flips=int((answers.argmax(axis=1) != reference.argmax(axis=1)).sum()),
        expected_flips=expected_flips(answers, reference),
        divergence_nats=float((p * np.log(p / q)).sum(axis=1).mean()),
        mean_abs_difference=float(np.abs(p - q).mean()),
        max_abs_difference=float(np.abs(p - q).max()),
    )


def expected_flips(answers: Answers, reference: Answers) -> float:
    """Expected part of the images whose label changes, 0..1: it scatters less than counted flips.

    The lead of an image is the log-odds of the reference's label over the best other one; quantisation shifts it,
    and the label changes where it falls below 0. Only images of small lead can change, and those are few: their
    exact leads are chance. So their leads are taken as spread evenly from 0 to the largest of the `_LOW_MARGIN`
    smallest, and the chance of each of their shifts d to cross 0, min(-d / largest, 1) where d < 0, is averaged.

    Args:
        answers: float32 [n, classes], of the quantised model.
        reference: float32 [n, classes], of the original.
    """
    label, indices = reference.argmax(axis=1), low_margin(reference)
    lead = _lead(reference, label)[indices]
    shift = _lead(answers, label)[indices] - lead
    return float(np.clip(-shift / max(float(lead.max()), _TINY), 0, 1).sum() / len(reference))


def low_margin(reference: Answers) -> NDArray[np.intp]:
    """The images of the smallest leads, which `expected_flips` looks at: int [k], indices."""
    return np.argsort(_lead(reference, reference.argmax(axis=1)), kind="stable")[:_LOW_MARGIN]


def _lead(answers: Answers, label: NDArray[np.intp]) -> NDArray[np.float64]:
    """float64 [n]: log-odds of that label over the best other class."""
    logs = np.log(answers.astype(np.float64) + _TINY)
    rows = np.arange(len(logs))
    own = logs[rows, label]
    logs[rows, label] = -np.inf
    result: NDArray[np.float64] = own - logs.max(axis=1)
    return result
