"""The soft vote: the weighted mean of the members' softmax outputs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["entropy_nats", "margin", "soft_vote", "tempered_bounds", "vote_shares"]


def vote_shares(weights: Sequence[float]) -> NDArray[np.float32]:
    """Each member's share of the vote: float32 [members], above 0 or rounded to it, summing to 1.

    Args:
        weights: One a member, not negative, not all zero; their scale does not matter.
    """
    scale = np.asarray(weights, dtype=np.float64)
    scale /= scale.max()  # first: the sum of huge weights would overflow
    shares: NDArray[np.float32] = (scale / scale.sum()).astype(np.float32)
    return shares


def soft_vote(probabilities: NDArray[np.float32], weights: Sequence[float]) -> NDArray[np.float32]:
    """Fuse the members' answers.

    Every element is a sum in the members' order, whatever the batch: the vote on an image does not depend on which
    images are voted on with it, not even in its last bit. (A matrix product may sum in another order.)

    Args:
        probabilities: float32 [members, batch, classes], each row a softmax in 0..1.
        weights: As for `vote_shares`.

    Returns:
        float32 [batch, classes]: the mean over members, weighted; each row sums to 1.
    """
    vote = np.zeros(probabilities.shape[1:], np.float32)
    for share, answers in zip(vote_shares(weights), probabilities, strict=True):
        vote += share * answers
    return vote


def tempered_bounds(
    lower: NDArray[np.float64], upper: NDArray[np.float64], temperature: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bounds of the tempered vote, given those of the vote: float64 [batch, classes], twice.

    A class has least when it has its lower bound and all others their upper ones, and most the other way round.
    """
    if temperature == 1:
        return lower, upper
    # Both by one scale, so that they can be added.
    scale = upper.max(axis=-1, keepdims=True)
    low, high = (lower / scale) ** (1 / temperature), (upper / scale) ** (1 / temperature)
    others_high = high.sum(axis=-1, keepdims=True) - high
    others_low = low.sum(axis=-1, keepdims=True) - low
    with np.errstate(invalid="ignore", divide="ignore"):
        least, most = low / (low + others_high), high / (high + others_low)
    return np.nan_to_num(least, nan=0.0), np.nan_to_num(most, nan=1.0)


def margin(probabilities: NDArray[np.floating[Any]]) -> float:
    """Lead of the winner over the runner-up, 0..1, of one row of probabilities."""
    second, first = np.partition(probabilities, -2)[-2:]
    return float(first - second)


def entropy_nats(probabilities: NDArray[np.floating[Any]]) -> float:
    """Shannon entropy of one row of probabilities, in nats: 0 (certain) .. ln(classes)."""
    positive = probabilities[probabilities > 0].astype(np.float64)
    return float(max(0.0, -(positive * np.log(positive)).sum()))
