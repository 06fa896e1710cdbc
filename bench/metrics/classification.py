"""How well one set of answers fits the truth: the study's classification report, and what it leaves out."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.document import Count
from braintumor.bench.metrics.intervals import Share, clopper_pearson_lower
from braintumor.errors import UsageError

__all__ = [
    "HEALTHY",
    "UNANSWERED",
    "ClassScores",
    "MeanScores",
    "ReliabilityBin",
    "Scores",
    "brier",
    "cross_entropy",
    "decided",
    "expected_calibration_error",
    "kl_divergence",
    "label_name",
    "reliability_bins",
    "scores",
]

HEALTHY: Final = "healthy"

UNANSWERED: Final = -1
"""Stands for the label of an image whose probabilities are not all finite."""

_FLOOR: Final = 1e-7
"""Probabilities below are taken as this (Keras's own epsilon), so that one image cannot make a mean infinite."""

_BINS: Final = 15


@dataclass(frozen=True, slots=True)
class MeanScores:
    """A line of the classification report.

    Attributes:
        precision: Right among those that were given the class; 0 where none was.
        recall: Right among those that are of the class.
        f1: Harmonic mean of the two; 0 where both are.
        support: Images of the class.
    """

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class ClassScores(MeanScores):
    """The line of one class.

    Attributes:
        recall_interval: Clopper-Pearson, two-sided.
    """

    recall_interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Images of about the same confidence.

    Attributes:
        confidence: Mean probability of the winner.
        accuracy: Share that is decided right.
        count: How many; at least 1.
    """

    confidence: float
    accuracy: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One set of answers against the truth.

    Attributes:
        images: How many.
        correct: Decided right. An image without an answer is decided wrong.
        accuracy: Correct / images.
        interval: Of the accuracy: Clopper-Pearson, two-sided.
        lower_one_sided: Its one-sided lower bound.
        unanswered: Images whose probabilities are not all finite.
        loss: Mean cross-entropy in nats; None where an image has no answer, as the next two.
        brier: Mean over images of the summed squared errors of all classes, 0..2.
        ece: Expected calibration error of the winner, 0..1, in 15 bins of equal width.
        reliability: Those bins that are not empty; none where an image has no answer.
        confusion: Counts: row is the truth, column the answer. Images without an answer are in no column.
        per_class: By name, of the classes that have images.
        macro: Unweighted mean over these classes.
        weighted: Mean over classes, weighted by support.
        sick_called_healthy: Of all sick, those called healthy; None where no class is called healthy.
        healthy_called_sick: Of all healthy, those called sick.
    """

    images: int
    correct: int
    accuracy: float
    interval: tuple[float, float]
    lower_one_sided: float
    unanswered: int
    loss: float | None
    brier: float | None
    ece: float | None
    reliability: tuple[ReliabilityBin, ...] = ()
    confusion: tuple[tuple[Count, ...], ...]
    per_class: Mapping[str, ClassScores]
    macro: MeanScores
    weighted: MeanScores
    sick_called_healthy: Share | None
    healthy_called_sick: Share | None

    def __post_init__(self) -> None:
        """Refuse counts that are not of as many classes in both directions."""
        if {len(row) for row in self.confusion} != {len(self.confusion)}:
            raise ValueError(f"a confusion of {len(self.confusion)} rows must have as many columns")


def decided(probabilities: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """int64 [n]: the most probable class of each row of [n, classes]; `UNANSWERED` where a value is not finite."""
    finite = np.isfinite(probabilities).all(axis=1)
    return np.where(finite, np.where(np.isfinite(probabilities), probabilities, 0).argmax(axis=1), UNANSWERED)


def label_name(label: int, classes: Sequence[str]) -> str | None:
    """The name of what `decided` gives; None for `UNANSWERED`."""
    return None if label == UNANSWERED else classes[label]


def scores(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.int64], classes: Sequence[str]) -> Scores:
    """Judge answers.

    Args:
        probabilities: float [n, classes], n at least 1.
        labels: int64 [n], what is right, indices into the classes.
        classes: Their names.

    Raises:
        UsageError: No image, or not as many answers as labels.
    """
    if probabilities.shape != (len(labels), len(classes)) or not len(labels):
        raise UsageError(f"answers {probabilities.shape} do not fit {len(labels)} labels of {len(classes)} classes")
    answers = decided(probabilities)
    unanswered = int((answers == UNANSWERED).sum())
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (labels[answers != UNANSWERED], answers[answers != UNANSWERED]), 1)
    lines = _lines(confusion, np.bincount(labels, minlength=len(classes)), classes)
    measured = probabilities.astype(np.float64) if not unanswered else None
    right = Share.of(int((answers == labels).sum()), len(labels))
    return Scores(
        images=right.total,
        correct=right.count,
        accuracy=right.share,
        interval=right.interval,
        lower_one_sided=clopper_pearson_lower(right.count, right.total),
        unanswered=unanswered,
        loss=None if measured is None else cross_entropy(measured, labels),
        brier=None if measured is None else brier(measured, labels),
        ece=None if measured is None else expected_calibration_error(measured, labels),
        reliability=() if measured is None else reliability_bins(measured, labels),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        per_class=lines,
        macro=_mean(lines.values(), [1] * len(lines)),
        weighted=_mean(lines.values(), [line.support for line in lines.values()]),
        sick_called_healthy=_mistaken(answers, labels, classes, sick=True),
        healthy_called_sick=_mistaken(answers, labels, classes, sick=False),
    )


def _lines(
    confusion: NDArray[np.int64], supports: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, ClassScores]:
    lines = {}
    for label, (name, support) in enumerate(zip(classes, supports.tolist(), strict=True)):
        if not support:
            continue
        right = int(confusion[label, label])
        given = int(confusion[:, label].sum())
        recall = Share.of(right, support)
        precision = right / given if given else 0.0
        f1 = 2 * precision * recall.share / (precision + recall.share) if right else 0.0
        lines[name] = ClassScores(precision, recall.share, f1, support, recall.interval)
    return lines


def _mean(lines: Collection[ClassScores], weights: Sequence[int]) -> MeanScores:
    def mean(values: Sequence[float]) -> float:
        return float(np.average(values, weights=weights))

    return MeanScores(
        mean([line.precision for line in lines]),
        mean([line.recall for line in lines]),
        mean([line.f1 for line in lines]),
        sum(line.support for line in lines),
    )


def _mistaken(
    answers: NDArray[np.int64], labels: NDArray[np.int64], classes: Sequence[str], *, sick: bool
) -> Share | None:
    """Of all sick those called healthy, or of all healthy those called sick; an unanswered image is neither."""
    if HEALTHY not in classes:
        return None
    healthy = list(classes).index(HEALTHY)
    asked = labels != healthy if sick else labels == healthy
    if not asked.any():
        return None
    wrong = answers == healthy if sick else (answers != healthy) & (answers != UNANSWERED)
    return Share.of(int((asked & wrong).sum()), int(asked.sum()))


def cross_entropy(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Mean of -ln p(truth), in nats, over [n, classes] and [n]."""
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chosen, _FLOOR)).mean())


def brier(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Mean of sum_c (p_c - truth_c)², 0..2 (G. W. Brier 1950, Monthly Weather Review 78:1-3)."""
    truth = np.eye(probabilities.shape[1])[labels]
    return float(((probabilities - truth) ** 2).sum(axis=1).mean())


def expected_calibration_error(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Mean |share that is right - mean confidence| over `reliability_bins`, weighted by images, 0..1.

    M. P. Naeini, G. F. Cooper, M. Hauskrecht 2015, AAAI 29; 15 bins of equal width as C. Guo et al. 2017, ICML.
    """
    bins = reliability_bins(probabilities, labels)
    return sum(bin_.count * abs(bin_.accuracy - bin_.confidence) for bin_ in bins) / len(labels)


def reliability_bins(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> tuple[ReliabilityBin, ...]:
    """Images by the probability of their winner, in 15 bins (k / 15, (k + 1) / 15]; empty ones are left out."""
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    at = np.clip(np.ceil(confidence * _BINS).astype(np.int64) - 1, 0, _BINS - 1)
    return tuple(
        ReliabilityBin(float(confidence[at == number].mean()), float(right[at == number].mean()), int(count))
        for number, count in enumerate(np.bincount(at, minlength=_BINS).tolist())
        if count
    )


def kl_divergence(reference: NDArray[np.float64], answers: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 [n]: sum_c r_c ln(r_c / a_c) of each row, in nats; probabilities are floored at 1e-7."""
    expected, found = np.maximum(reference, _FLOOR), np.maximum(answers, _FLOOR)
    divergence: NDArray[np.float64] = (expected * np.log(expected / found)).sum(axis=1)
    return np.maximum(divergence, 0.0)
