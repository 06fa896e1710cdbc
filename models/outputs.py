"""Class probabilities of a network's outputs. Plain NumPy: references compute with it beside the exported graph."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["class_probabilities"]


def class_probabilities(outputs: NDArray[Any], *, logits: bool) -> NDArray[np.float32]:
    """Probabilities in the order of a network's outputs, computed in float64.

    Args:
        outputs: Floats [n, classes]; or [n, 1], one unit for the second of two classes.
        logits: They are not probabilities yet.

    Returns:
        float32 [n, classes], with 2 classes for one unit.
    """
    values = np.asarray(outputs, np.float64)
    if values.shape[1] == 1:
        # The sigmoid of x is the second value of the softmax of (0, x).
        values = np.concatenate([np.zeros_like(values) if logits else 1 - values, values], axis=1)
    if logits:
        values = np.exp(values - values.max(axis=1, keepdims=True))
        values /= values.sum(axis=1, keepdims=True)
    probabilities: NDArray[np.float32] = values.astype(np.float32)
    return probabilities
