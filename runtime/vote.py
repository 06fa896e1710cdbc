"""The soft vote: the weighted mean of the members' softmax outputs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["entropy_nats", "margin", "soft_vote"]


def soft_vote(probabilities: NDArray[np.float32], weights: Sequence[float]) -> NDArray[np.float32]:
    """Fuse the members' answers.

    Args:
        probabilities: float32 [members, batch, classes], each row a softmax in 0..1.
        weights: One weight a member, not negative, not all zero; their scale does not matter.

    Returns:
        float32 [batch, classes]: the mean over members, weighted; each row sums to 1.
    """
    scale = np.asarray(weights, dtype=np.float64)
    scale /= scale.max()  # first: the sum of huge weights would overflow
    shares = (scale / scale.sum()).astype(np.float32)
    vote: NDArray[np.float32] = np.tensordot(shares, probabilities, axes=1)
    return vote


def margin(probabilities: NDArray[np.float32]) -> float:
    """Lead of the winner over the runner-up, 0..1, of one row of probabilities."""
    second, first = np.partition(probabilities, -2)[-2:]
    return float(first - second)


def entropy_nats(probabilities: NDArray[np.float32]) -> float:
    """Shannon entropy of one row of probabilities, in nats: 0 (certain) .. ln(classes)."""
    positive = probabilities[probabilities > 0].astype(np.float64)
    return float(max(0.0, -(positive * np.log(positive)).sum()))
