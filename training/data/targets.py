"""Targets of training images: one class, or any tumour where its type is not known."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.models.labels import CLASSES

__all__ = [
    "ANY_TUMOUR",
    "HEALTHY",
    "allowed",
    "allowed_accuracy",
    "allowed_cross_entropy",
    "label_losses",
    "names_one_class",
    "target_rows",
]

ANY_TUMOUR: Final = -1
"""The label of a slice with a tumour of unknown type."""

HEALTHY: Final = CLASSES.index("healthy")
_SEVERAL: Final = 1.5
"""A target row that sums to more than this names several allowed classes."""

_FLOOR: Final = 1e-7


def target_rows(labels: NDArray[np.int64], smoothing: float) -> NDArray[np.float32]:
    """Make target rows float32 [n, 4] of labels int64 [n].

    A known class gives a row that sums to 1: 1 - s + s / 4 for the class and s / 4 for the others. A tumour of
    unknown type gives a row of ones for the allowed classes and 0 for healthy.
    """
    count = len(CLASSES)
    # ANY_TUMOUR picks the last row.
    known = np.eye(count, dtype=np.float32) * (1 - smoothing) + smoothing / count
    any_tumour = np.ones((1, count), np.float32)
    any_tumour[0, HEALTHY] = 0
    rows: NDArray[np.float32] = np.concatenate([known, any_tumour]).astype(np.float32)[labels]
    return rows


def names_one_class(rows: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell whether a target row names one class, bool [n]; False for a tumour of unknown type."""
    single: NDArray[np.bool_] = rows.sum(axis=-1) <= _SEVERAL
    return single


def allowed_cross_entropy(keras: Any) -> Any:
    """Make the loss function of `target_rows`, in nats, one value an image.

    Cross-entropy for a row that sums to 1; -log of the sum of the allowed probabilities for a row of several allowed
    classes, which is -log(1 - p(healthy)) for a tumour of unknown type.
    """
    ops = keras.ops

    def loss(rows: Any, probabilities: Any) -> Any:
        p = ops.clip(probabilities, _FLOOR, 1.0)
        exact = -ops.sum(rows * ops.log(p), axis=-1)
        several = -ops.log(ops.clip(ops.sum(rows * p, axis=-1), _FLOOR, 1.0))
        return ops.where(ops.sum(rows, axis=-1) > _SEVERAL, several, exact)

    return loss


def allowed_accuracy(keras: Any) -> Any:
    """Make the metric of `target_rows`: 1 where the most probable class is the class, or one of the allowed ones."""
    ops = keras.ops

    def accuracy(rows: Any, probabilities: Any) -> Any:
        decided = ops.one_hot(ops.argmax(probabilities, axis=-1), len(CLASSES), dtype=rows.dtype)
        return ops.cast(ops.sum(decided * rows, axis=-1) >= ops.max(rows, axis=-1), "float32")

    return accuracy


def label_losses(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute the loss without smoothing in nats, float64 [n], of probabilities [n, 4] for labels int64 [n]."""
    p = (probabilities * target_rows(labels, 0.0)).sum(axis=1)
    losses: NDArray[np.float64] = -np.log(np.maximum(p, _FLOOR))
    return losses


def allowed(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell whether the most probable class is the class, or one of the allowed ones: bool [n]."""
    rows = target_rows(labels, 0.0)
    correct: NDArray[np.bool_] = rows[np.arange(len(labels)), probabilities.argmax(axis=1)] > 0
    return correct
