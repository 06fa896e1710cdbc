"""Do two sets of answers to the same images agree? The figures, as a value."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Parity", "parity"]


@dataclass(frozen=True, slots=True)
class Parity:
    """How far answers lie from their reference.

    Attributes:
        images: How many were compared.
        max_abs_difference: max |Δp| over all images and classes, 0..1; NaN when an answer is not finite.
        mean_abs_difference: mean |Δp|, 0..1.
        flips: Images whose most probable class differs.
    """

    images: int
    max_abs_difference: float
    mean_abs_difference: float
    flips: int


def parity(answers: NDArray[np.float32], reference: NDArray[np.float32]) -> Parity:
    """Compare float32 [images, classes] probabilities with a reference of the same shape.

    Raises:
        ValueError: The shapes differ, or there are no images.
    """
    if answers.shape != reference.shape or answers.size == 0:
        raise ValueError(f"answers {answers.shape} cannot be compared with a reference {reference.shape}")
    difference = np.abs(answers.astype(np.float64) - reference)
    return Parity(
        images=len(answers),
        max_abs_difference=float(difference.max()),
        mean_abs_difference=float(difference.mean()),
        flips=int((answers.argmax(axis=1) != reference.argmax(axis=1)).sum()),
    )
