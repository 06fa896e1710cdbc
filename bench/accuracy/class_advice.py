"""Answers that fit the truth once their classes are renamed: how the model's outputs should have been named."""

from collections.abc import Sequence

import numpy as np

from braintumor.bench.metrics.classification import Scores
from braintumor.models.labels import CLASSES
from braintumor.optional import require

__all__ = ["better_order", "classes_option", "order_of_outputs"]


def better_order(scores: Scores, classes: Sequence[str]) -> tuple[str, ...] | None:
    """What each class of the answers means, where more than half of all are right then and the given names are wrong.

    Args:
        scores: Of one member.
        classes: Names, in the order of the scores.

    Returns:
        For each class, in the order of the scores, the one that it stands for; None where the names are right, or
        no others are clearly better.
    """
    confusion = np.array(scores.confusion)
    count = len(classes)
    # Each right answer weighs more than all names together that stay as they are: these only break ties.
    weights = confusion * (count + 1) + np.eye(count, dtype=np.int64)
    optimize = require("scipy.optimize", extra="bench", purpose="finding swapped classes")
    truths, answers = optimize.linear_sum_assignment(weights, maximize=True)
    right = int(confusion[truths, answers].sum())
    # More than a tenth of all images: two classes that a weak network takes for each other are no swapped names.
    clearly = right > scores.correct + scores.images / 10
    if 2 * right <= scores.images or not clearly:
        return None
    meant = dict(zip(answers.tolist(), truths.tolist(), strict=True))
    return tuple(classes[meant[answer]] for answer in range(count))


def order_of_outputs(source: Sequence[str], classes: Sequence[str], better: Sequence[str]) -> tuple[str, ...]:
    """The names to give a model's outputs.

    Args:
        source: The names that were given at its export, in the order of its outputs.
        classes: The classes of the scores.
        better: What each of these means, of `better_order`.
    """
    return tuple(better[classes.index(name)] for name in source)


def classes_option(names: Sequence[str]) -> str:
    """The option of `bt-export` as it is typed."""
    return f"--classes {','.join(names)}" + ("" if set(names) <= set(CLASSES) else " --new-classes")
