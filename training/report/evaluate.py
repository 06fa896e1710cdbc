"""Figures of one model on one set of images: those of `bt-bench accuracy`, and the names of what is wrong."""

import numpy as np

from braintumor.bench.document import field_values
from braintumor.bench.metrics.classification import Scores, scores
from braintumor.bench.metrics.intervals import Share
from braintumor.errors import IntegrityError
from braintumor.models.labels import CLASSES
from braintumor.training.data.predictions import Answers
from braintumor.training.data.targets import HEALTHY

__all__ = ["Evaluation", "detection", "evaluate", "share_text"]


class Evaluation(Scores, frozen=True, kw_only=True):
    """Scores of answers that are all finite.

    Attributes:
        loss: Mean cross-entropy in nats.
        errors: Names of the images decided wrong, with truth, answer and its probability.
    """

    loss: float
    errors: tuple[tuple[str, str, str, float], ...]

    def precision(self, name: str) -> Share | None:
        """Of the images that were given a class those that are of it; None where none was given it."""
        number = CLASSES.index(name)
        given = sum(row[number] for row in self.confusion)
        return Share.of(self.confusion[number][number], given) if given else None

    def text(self) -> str:
        """Accuracy with its interval, in percent."""
        return share_text(Share.of(self.correct, self.images))


def share_text(share: Share) -> str:
    """A share with its interval, in percent."""
    low, high = share.interval
    return f"{share.share:.2%} [{low:.2%}, {high:.2%}] ({share.count}/{share.total})"


def detection(answers: Answers) -> Share:
    """Slices with a tumour that are not called healthy, among at least one."""
    found = answers.probabilities.argmax(axis=1) != HEALTHY
    return Share.of(int(found.sum()), len(answers))


def evaluate(answers: Answers) -> Evaluation:
    """All figures of answers to at least one image.

    Raises:
        IntegrityError: A probability is not finite.
    """
    found = scores(answers.probabilities, answers.labels, CLASSES)
    if found.loss is None:
        raise IntegrityError(f"{found.non_finite} of {found.images} answers are not finite; evaluate the model again")
    decided = answers.probabilities.argmax(axis=1)
    errors = tuple(
        (
            answers.files[number],
            CLASSES[answers.labels[number]],
            CLASSES[decided[number]],
            round(float(answers.probabilities[number, decided[number]]), 4),
        )
        for number in np.flatnonzero(decided != answers.labels)
    )
    return Evaluation(errors=errors, **field_values(found))
