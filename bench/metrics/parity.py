"""Parity of two sets of predictions of the same images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Parity", "parity"]


@dataclass(frozen=True, slots=True)
class Parity:
    """Differences between predictions and their reference.

    Attributes:
        images: Number of images.
        max_abs_difference: max |Δp| over all images and classes, 0..1; NaN if a probability is not finite.
        mean_abs_difference: mean |Δp|, 0..1.
        flips: Number of images whose most probable class differs.
    """

    images: int
    max_abs_difference: float
    mean_abs_difference: float
    flips: int


def parity(probabilities: NDArray[np.float32], reference: NDArray[np.float32]) -> Parity:
    """Compare float32 [images, classes] probabilities with a reference of the same shape.

    Raises:
        ValueError: The shapes differ, or there are no images.
    """
    if probabilities.shape != reference.shape or probabilities.size == 0:
        raise ValueError(f"probabilities {probabilities.shape} cannot be compared with a reference {reference.shape}")
    difference = np.abs(probabilities.astype(np.float64) - reference)
    return Parity(
        images=len(probabilities),
        max_abs_difference=float(difference.max()),
        mean_abs_difference=float(difference.mean()),
        flips=int((probabilities.argmax(axis=1) != reference.argmax(axis=1)).sum()),
    )
