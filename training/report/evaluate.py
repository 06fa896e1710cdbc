"""Figures of one model on one set of images."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from braintumor.bench.metrics.classification import cross_entropy
from braintumor.bench.metrics.intervals import clopper_pearson
from braintumor.models.labels import CLASSES
from braintumor.optional import require
from braintumor.training.data.predictions import Answers
from braintumor.training.data.targets import HEALTHY

__all__ = ["Detection", "Evaluation", "detection", "evaluate"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is known about one model on one set of images.

    Attributes:
        images: How many.
        correct: How many were decided right.
        accuracy: correct / images.
        interval: Clopper-Pearson 95 % interval of the accuracy.
        loss: Mean cross-entropy in nats.
        confusion: [4][4] counts: row is the truth, column the answer, in the order of `CLASSES`.
        per_class: precision, recall, f1 and support by class; of the first two also the Clopper-Pearson intervals
            (0 to 1 where no image was given the class, or none is of it).
        errors: Names of the images decided wrong, with truth, answer and its probability.
    """

    images: int
    correct: int
    accuracy: float
    interval: tuple[float, float]
    loss: float
    confusion: list[list[int]]
    per_class: dict[str, dict[str, Any]]
    errors: list[tuple[str, str, str, float]]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    def text(self) -> str:
        """Accuracy with its interval, in percent."""
        low, high = self.interval
        return f"{self.accuracy:.2%} [{low:.2%}, {high:.2%}] ({self.correct}/{self.images})"


@dataclass(frozen=True, slots=True)
class Detection:
    """How many slices with a tumour of unknown type are given the name of a tumour.

    Attributes:
        images: How many.
        found: How many are not called healthy.
        share: found / images, the sensitivity.
        interval: Clopper-Pearson 95 % interval of the share.
    """

    images: int
    found: int
    share: float
    interval: tuple[float, float]

    def text(self) -> str:
        """The share with its interval, in percent."""
        low, high = self.interval
        return f"{self.share:.2%} [{low:.2%}, {high:.2%}] ({self.found}/{self.images})"


def detection(answers: Answers) -> Detection:
    """What is found among answers to at least one slice with a tumour."""
    found = int((answers.probabilities.argmax(axis=1) != HEALTHY).sum())
    return Detection(len(answers), found, found / len(answers), clopper_pearson(found, len(answers)))


def evaluate(answers: Answers) -> Evaluation:
    """All figures of answers to at least one image."""
    metrics = require("sklearn.metrics", extra="train", purpose="evaluating")
    decided = answers.probabilities.argmax(axis=1)
    correct = int((decided == answers.labels).sum())
    numbers = list(range(len(CLASSES)))
    table = metrics.classification_report(
        answers.labels, decided, labels=numbers, target_names=CLASSES, output_dict=True, zero_division=0
    )
    confusion = metrics.confusion_matrix(answers.labels, decided, labels=numbers)
    wrong = np.flatnonzero(decided != answers.labels)
    return Evaluation(
        images=len(answers),
        correct=correct,
        accuracy=correct / len(answers),
        interval=clopper_pearson(correct, len(answers)),
        loss=cross_entropy(answers.probabilities, answers.labels),
        confusion=confusion.tolist(),
        per_class={
            name: {
                "precision": float(table[name]["precision"]),
                "recall": float(table[name]["recall"]),
                "f1": float(table[name]["f1-score"]),
                "support": int(table[name]["support"]),
                "precision_interval": _interval(confusion[number, number], confusion[:, number].sum()),
                "recall_interval": _interval(confusion[number, number], confusion[number].sum()),
            }
            for number, name in enumerate(CLASSES)
        },
        errors=[
            (
                answers.files[number],
                CLASSES[answers.labels[number]],
                CLASSES[decided[number]],
                round(float(answers.probabilities[number, decided[number]]), 4),
            )
            for number in wrong
        ],
    )


def _interval(correct: int, total: int) -> tuple[float, float]:
    return clopper_pearson(int(correct), int(total)) if total else (0.0, 1.0)
