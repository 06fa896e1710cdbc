"""The soft vote: the weighted mean of the members' softmax outputs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["entropy_nats", "margin", "soft_vote", "vote_shares"]


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


def margin(probabilities: NDArray[np.float32]) -> float:
    """Lead of the winner over the runner-up, 0..1, of one row of probabilities."""
    second, first = np.partition(probabilities, -2)[-2:]
    return float(first - second)


def entropy_nats(probabilities: NDArray[np.float32]) -> float:
    """Shannon entropy of one row of probabilities, in nats: 0 (certain) .. ln(classes)."""
    positive = probabilities[probabilities > 0].astype(np.float64)
    return float(max(0.0, -(positive * np.log(positive)).sum()))
