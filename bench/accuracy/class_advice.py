"""Swapped class names: the order in which a model's outputs should have been named."""

from collections.abc import Sequence

import numpy as np

from braintumor.bench.metrics.classification import Scores
from braintumor.models.labels import CLASSES
from braintumor.optional import require

__all__ = ["better_order", "classes_option", "order_of_outputs"]


def better_order(scores: Scores, classes: Sequence[str]) -> tuple[str, ...] | None:
    """Find the order of the classes with which the predictions fit the truth.

    Args:
        scores: Of one member.
        classes: Names, in the order of the scores.

    Returns:
        For each class, in the order of the scores, the class that it stands for. None where the names are right, or
        where no others make more than half of the labels right and clearly more than now.
    """
    confusion = np.array(scores.confusion)
    count = len(classes)
    # Each right label weighs more than all unchanged names together: these only break ties.
    weights = confusion * (count + 1) + np.eye(count, dtype=np.int64)
    optimize = require("scipy.optimize", extra="bench", purpose="finding swapped classes")
    truths, predictions = optimize.linear_sum_assignment(weights, maximize=True)
    right = int(confusion[truths, predictions].sum())
    # By more than a tenth of all images: a weak network that confuses two classes has not swapped their names.
    is_clear = right > scores.correct + scores.images / 10
    if 2 * right <= scores.images or not is_clear:
        return None
    meaning = dict(zip(predictions.tolist(), truths.tolist(), strict=True))
    return tuple(classes[meaning[prediction]] for prediction in range(count))


def order_of_outputs(source: Sequence[str], classes: Sequence[str], better: Sequence[str]) -> tuple[str, ...]:
    """The names to give a model's outputs.

    Args:
        source: The names that were given at its export, in the order of its outputs.
        classes: The classes of the scores.
        better: The class that each of these stands for, from `better_order`.
    """
    return tuple(better[classes.index(name)] for name in source)


def classes_option(names: Sequence[str]) -> str:
    """The option of `bt-export` that names a model's outputs so."""
    return f"--classes {','.join(names)}" + ("" if set(names) <= set(CLASSES) else " --new-classes")
