"""Which models should vote, and with which weights? Chosen on validation images only."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.accuracy_scores import cross_entropy
from braintumor.training.predictions import Answers, same_images

__all__ = ["Vote", "search", "soft_vote", "subsets"]

_PARTS = 10
"""Vote weights are tenths."""


@dataclass(frozen=True, slots=True)
class Vote:
    """One ensemble.

    Attributes:
        members: Names of the models.
        weights: Their weights in the vote, which sum to 1.
        val_accuracy: On the validation images, 0 to 1.
        val_loss: Cross-entropy there, in nats.
    """

    members: tuple[str, ...]
    weights: tuple[float, ...]
    val_accuracy: float
    val_loss: float


def subsets(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """All combinations of two names and more: 11 for four names."""
    return [chosen for size in range(2, len(names) + 1) for chosen in combinations(names, size)]


def soft_vote(answers: Mapping[str, Answers], vote: Vote) -> Answers:
    """The weighted mean of the members' probabilities."""
    first = answers[vote.members[0]]
    stack = [answers[name].probabilities * weight for name, weight in zip(vote.members, vote.weights, strict=True)]
    return first.with_probabilities(np.sum(stack, axis=0))


def search(validation: Mapping[str, Answers]) -> list[Vote]:
    """For each subset the vote with equal weights and the best one with other weights, best first.

    Votes are ranked by validation accuracy; equal ones by validation loss. Equal weights are kept unless others
    decide at least one validation image more: 702 images cannot tell finer votes apart.

    Args:
        validation: Answers of at least two models to the same validation images.

    Raises:
        IntegrityError: The images are not the same.
    """
    same_images(validation)
    votes = []
    for members in subsets(tuple(validation)):
        stack = np.stack([validation[name].probabilities for name in members])
        labels = validation[members[0]].labels
        equal = _vote(members, (1 / len(members),) * len(members), stack, labels)
        best = max((_vote(members, weights, stack, labels) for weights in _grid(len(members))), key=_rank)
        votes.append(best if best.val_accuracy > equal.val_accuracy else equal)
    return sorted(votes, key=_rank, reverse=True)


def _rank(vote: Vote) -> tuple[float, float]:
    return vote.val_accuracy, -vote.val_loss


def _vote(
    members: tuple[str, ...], weights: tuple[float, ...], stack: NDArray[np.float64], labels: NDArray[np.int64]
) -> Vote:
    mixed = np.tensordot(np.array(weights), stack, axes=1)
    return Vote(members, weights, float((mixed.argmax(axis=1) == labels).mean()), cross_entropy(mixed, labels))


def _grid(members: int) -> Iterator[tuple[float, ...]]:
    """All weights in tenths with every member at one tenth and more."""
    for cuts in combinations(range(1, _PARTS), members - 1):
        edges = (0, *cuts, _PARTS)
        yield tuple((high - low) / _PARTS for low, high in pairwise(edges))
