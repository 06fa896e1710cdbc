"""Scores of one model on one set of images: those of `bt-bench accuracy`, and the names of wrong images."""

import numpy as np

from braintumor.bench.document import field_values
from braintumor.bench.metrics.classification import Scores, scores
from braintumor.bench.metrics.intervals import Share
from braintumor.errors import IntegrityError
from braintumor.models.labels import CLASSES
from braintumor.training.data.predictions import Predictions
from braintumor.training.data.targets import HEALTHY

__all__ = ["Evaluation", "detection", "evaluate", "share_text"]


class Evaluation(Scores, frozen=True, kw_only=True):
    """Scores of finite predictions.

    Attributes:
        loss: Mean cross-entropy in nats.
        errors: Names of the images decided wrong, with truth, answer and its probability.
    """

    loss: float
    errors: tuple[tuple[str, str, str, float], ...]

    def precision(self, name: str) -> Share | None:
        """Share of the images with this answer whose answer is right; None where no image has it."""
        number = CLASSES.index(name)
        predicted = sum(row[number] for row in self.confusion)
        return Share.of(self.confusion[number][number], predicted) if predicted else None

    def text(self) -> str:
        """Format the accuracy with its interval, in percent."""
        return share_text(Share.of(self.correct, self.images))


def share_text(share: Share) -> str:
    """Format a share with its interval, in percent."""
    low, high = share.interval
    return f"{share.share:.2%} [{low:.2%}, {high:.2%}] ({share.count}/{share.total})"


def detection(predictions: Predictions) -> Share:
    """Count slices with a tumour, at least one, that are not called healthy."""
    detected = predictions.probabilities.argmax(axis=1) != HEALTHY
    return Share.of(int(detected.sum()), len(predictions))


def evaluate(predictions: Predictions) -> Evaluation:
    """Score predictions of at least one image.

    Raises:
        IntegrityError: A probability is not finite.
    """
    result = scores(predictions.probabilities, predictions.labels, CLASSES)
    if result.loss is None:
        raise IntegrityError(
            f"{result.non_finite} of {result.images} predictions are not finite", "evaluate the model again"
        )
    decided = predictions.probabilities.argmax(axis=1)
    errors = tuple(
        (
            predictions.files[number],
            CLASSES[predictions.labels[number]],
            CLASSES[decided[number]],
            round(float(predictions.probabilities[number, decided[number]]), 4),
        )
        for number in np.flatnonzero(decided != predictions.labels)
    )
    return Evaluation(errors=errors, **field_values(result))
