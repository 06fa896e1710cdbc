"""From what the members said to what the ensemble says, image by image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braintumor.runtime.early_exit import bounds
from braintumor.runtime.members import Answers
from braintumor.runtime.vote import entropy_nats, margin, soft_vote, vote_shares

__all__ = ["Verdict", "verdicts"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the ensemble says of one image.

    Attributes:
        vote: float32 [classes]; of those members that were asked. Its largest value is at the label.
        margin: Lead of the label, 0..1; None where not all were asked.
        entropy_nats: Of the vote; None where not all were asked.
        bounds: Lowest and highest value of each class in the full vote; None where all were asked.
        members: float32 [members, classes].
        asked: bool [members].
    """

    vote: NDArray[np.float32]
    margin: float | None
    entropy_nats: float | None
    bounds: tuple[tuple[float, float], ...] | None
    members: NDArray[np.float32]
    asked: NDArray[np.bool_]


def verdicts(answers: Answers, weights: Sequence[float]) -> Iterator[Verdict]:
    """One verdict an image, in their order.

    Args:
        answers: Of a batch.
        weights: One a member.
    """
    votes = soft_vote(answers.probabilities, weights)
    for row, asked in enumerate(answers.asked.T):
        members = answers.probabilities[:, row]
        if asked.all():
            yield Verdict(votes[row], margin(votes[row]), entropy_nats(votes[row]), None, members, asked)
        else:
            yield _partial(members, asked, weights)


def _partial(members: NDArray[np.float32], asked: NDArray[np.bool_], weights: Sequence[float]) -> Verdict:
    shares = vote_shares(weights)
    answered = members[asked][:, np.newaxis]
    vote = soft_vote(answered, np.asarray(weights)[asked].tolist())[0]
    lower, upper = bounds(answered, shares[asked], shares[~asked])
    pairs = tuple(zip(lower[0].tolist(), upper[0].tolist(), strict=True))
    return Verdict(vote, None, None, pairs, members, asked)
