"""Scores of predictions against the true labels: a classification report, calibration, missed tumours."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from braintumor.bench.document import Count
from braintumor.bench.metrics.intervals import Share, clopper_pearson_lower
from braintumor.errors import UsageError

__all__ = [
    "HEALTHY",
    "NON_FINITE",
    "ClassScores",
    "MeanScores",
    "ReliabilityBin",
    "Scores",
    "brier",
    "cross_entropy",
    "expected_calibration_error",
    "kl_divergence",
    "label_name",
    "predicted_labels",
    "reliability_bins",
    "scores",
]

HEALTHY: Final = "healthy"

NON_FINITE: Final = -1
"""Label of an image whose probabilities are not all finite."""

_FLOOR: Final = 1e-7
"""Smaller probabilities are raised to this (Keras's epsilon), so that one image cannot make a mean infinite."""

_BINS: Final = 15


@dataclass(frozen=True, slots=True)
class MeanScores:
    """A line of the classification report.

    Attributes:
        precision: Share of the images with this label that are right; 0 if there are none.
        recall: Share of the images of this class that are right.
        f1: Harmonic mean of the two; 0 if both are 0.
        support: Number of images of the class.
    """

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class ClassScores(MeanScores):
    """The line of one class in the classification report.

    Attributes:
        recall_interval: Clopper-Pearson, two-sided.
    """

    recall_interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Images with about the same confidence.

    Attributes:
        confidence: Mean probability of the winner.
        accuracy: Share of right labels.
        count: Number of images, at least 1.
    """

    confidence: float
    accuracy: float
    count: int


_KEYS: Final = {
    "non_finite": "unanswered",
    "false_negatives": "sick_called_healthy",
    "false_positives": "healthy_called_sick",
}


class Scores(msgspec.Struct, frozen=True, kw_only=True, rename=_KEYS):
    """Scores of predictions against the true labels.

    Attributes:
        images: Number of images.
        correct: Number of right labels; probabilities that are not finite count as wrong.
        accuracy: Correct / images.
        interval: Of the accuracy: Clopper-Pearson, two-sided.
        lower_one_sided: One-sided lower bound of the accuracy.
        non_finite: Number of images whose probabilities are not all finite; "unanswered" in the JSON.
        loss: Mean cross-entropy in nats; None if an image is not finite, as the next two.
        brier: Mean over images of the summed squared errors of all classes, 0..2.
        ece: Expected calibration error of the winner, 0..1, in 15 bins of equal width.
        reliability: The bins that are not empty; () if an image is not finite.
        confusion: Counts, row true label, column predicted label; without the images that are not finite.
        per_class: Class → its scores, of the classes that have images.
        macro: Unweighted mean over these classes.
        weighted: Mean over classes, weighted by support.
        false_negatives: Missed tumours: sick images with the label healthy, of all sick images; None where no class
            is called healthy. "sick_called_healthy" in the JSON.
        false_positives: Healthy images with another label, of all healthy images; "healthy_called_sick" in the JSON.
    """

    images: int
    correct: int
    accuracy: float
    interval: tuple[float, float]
    lower_one_sided: float
    non_finite: int
    loss: float | None
    brier: float | None
    ece: float | None
    reliability: tuple[ReliabilityBin, ...] = ()
    confusion: tuple[tuple[Count, ...], ...]
    per_class: Mapping[str, ClassScores]
    macro: MeanScores
    weighted: MeanScores
    false_negatives: Share | None
    false_positives: Share | None

    def __post_init__(self) -> None:
        """Check that the confusion is square."""
        if {len(row) for row in self.confusion} != {len(self.confusion)}:
            raise ValueError(f"a confusion of {len(self.confusion)} rows must have as many columns")


def predicted_labels(probabilities: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """int64 [n]: the most probable class of each row of [n, classes]; `NON_FINITE` where a value is not finite."""
    finite = np.isfinite(probabilities).all(axis=1)
    return np.where(finite, np.where(np.isfinite(probabilities), probabilities, 0).argmax(axis=1), NON_FINITE)


def label_name(label: int, classes: Sequence[str]) -> str | None:
    """The name of a label of `predicted_labels`; None for `NON_FINITE`."""
    return None if label == NON_FINITE else classes[label]


def scores(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.int64], classes: Sequence[str]) -> Scores:
    """Score predictions.

    Args:
        probabilities: float [n, classes], n at least 1.
        labels: int64 [n], the true labels, indices into the classes.
        classes: Their names.

    Raises:
        UsageError: No image, or another number of predictions than labels.
    """
    if probabilities.shape != (len(labels), len(classes)) or not len(labels):
        raise UsageError(
            f"probabilities {probabilities.shape} do not fit {len(labels)} labels of {len(classes)} classes"
        )
    predicted = predicted_labels(probabilities)
    non_finite = int((predicted == NON_FINITE).sum())
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (labels[predicted != NON_FINITE], predicted[predicted != NON_FINITE]), 1)
    lines = _lines(confusion, np.bincount(labels, minlength=len(classes)), classes)
    finite = probabilities.astype(np.float64) if not non_finite else None
    right = Share.of(int((predicted == labels).sum()), len(labels))
    return Scores(
        images=right.total,
        correct=right.count,
        accuracy=right.share,
        interval=right.interval,
        lower_one_sided=clopper_pearson_lower(right.count, right.total),
        non_finite=non_finite,
        loss=None if finite is None else cross_entropy(finite, labels),
        brier=None if finite is None else brier(finite, labels),
        ece=None if finite is None else expected_calibration_error(finite, labels),
        reliability=() if finite is None else reliability_bins(finite, labels),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        per_class=lines,
        macro=_mean(lines.values(), [1] * len(lines)),
        weighted=_mean(lines.values(), [line.support for line in lines.values()]),
        false_negatives=_false_negatives(predicted, labels, classes),
        false_positives=_false_positives(predicted, labels, classes),
    )


def _lines(
    confusion: NDArray[np.int64], supports: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, ClassScores]:
    lines = {}
    for label, (name, support) in enumerate(zip(classes, supports.tolist(), strict=True)):
        if not support:
            continue
        right = int(confusion[label, label])
        predicted = int(confusion[:, label].sum())
        recall = Share.of(right, support)
        precision = right / predicted if predicted else 0.0
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


def _false_negatives(predicted: NDArray[np.int64], labels: NDArray[np.int64], classes: Sequence[str]) -> Share | None:
    if HEALTHY not in classes:
        return None
    healthy = list(classes).index(HEALTHY)
    return _share_of(predicted == healthy, labels != healthy)


def _false_positives(predicted: NDArray[np.int64], labels: NDArray[np.int64], classes: Sequence[str]) -> Share | None:
    if HEALTHY not in classes:
        return None
    healthy = list(classes).index(HEALTHY)
    return _share_of((predicted != healthy) & (predicted != NON_FINITE), labels == healthy)


def _share_of(chosen: NDArray[np.bool_], images: NDArray[np.bool_]) -> Share | None:
    return Share.of(int((chosen & images).sum()), int(images.sum())) if images.any() else None


def cross_entropy(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Mean of -ln p(truth), in nats, over [n, classes] and [n]."""
    of_truth = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(of_truth, _FLOOR)).mean())


def brier(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Mean of sum_c (p_c - truth_c)², 0..2 (G. W. Brier 1950, Monthly Weather Review 78:1-3)."""
    truth = np.eye(probabilities.shape[1])[labels]
    return float(((probabilities - truth) ** 2).sum(axis=1).mean())


def expected_calibration_error(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Mean |share of right labels - mean confidence| over `reliability_bins`, weighted by images, 0..1.

    M. P. Naeini, G. F. Cooper, M. Hauskrecht 2015, AAAI 29; 15 bins of equal width as C. Guo et al. 2017, ICML.
    """
    bins = reliability_bins(probabilities, labels)
    return sum(bin_.count * abs(bin_.accuracy - bin_.confidence) for bin_ in bins) / len(labels)


def reliability_bins(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> tuple[ReliabilityBin, ...]:
    """Images by the probability of their winner, in 15 bins (k / 15, (k + 1) / 15]; empty ones are left out."""
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    bins = np.clip(np.ceil(confidence * _BINS).astype(np.int64) - 1, 0, _BINS - 1)
    return tuple(
        ReliabilityBin(float(confidence[bins == number].mean()), float(right[bins == number].mean()), int(count))
        for number, count in enumerate(np.bincount(bins, minlength=_BINS).tolist())
        if count
    )


def kl_divergence(reference: NDArray[np.float64], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 [n]: sum_c r_c ln(r_c / p_c) of each row, in nats; probabilities are raised to at least 1e-7."""
    expected, actual = np.maximum(reference, _FLOOR), np.maximum(probabilities, _FLOOR)
    divergence: NDArray[np.float64] = (expected * np.log(expected / actual)).sum(axis=1)
    return np.maximum(divergence, 0.0)
