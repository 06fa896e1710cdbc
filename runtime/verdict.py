"""From what the members said to what the ensemble says, image by image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braintumor.models.vote_calibration import tempered
from braintumor.runtime.early_exit import bounds
from braintumor.runtime.members import Answers
from braintumor.runtime.vote import entropy_nats, margin, soft_vote, tempered_bounds, vote_shares

__all__ = ["Verdict", "verdicts"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the ensemble says of one image.

    Attributes:
        label: Index of the class with the highest vote.
        vote: float32 [classes]; of those members that were asked, at the temperature of the bundle.
        margin: Lead of the label, 0..1; None where not all were asked.
        entropy_nats: Of the vote; None where not all were asked.
        bounds: Lowest and highest value of each class in the full vote; None where all were asked.
        members: float32 [members, classes].
        asked: bool [members].
    """

    label: int
    vote: NDArray[np.floating[Any]]
    margin: float | None
    entropy_nats: float | None
    bounds: tuple[tuple[float, float], ...] | None
    members: NDArray[np.float32]
    asked: NDArray[np.bool_]


def verdicts(answers: Answers, weights: Sequence[float], temperature: float = 1.0) -> Iterator[Verdict]:
    """One verdict an image, in their order.

    Args:
        answers: Of a batch.
        weights: One a member.
        temperature: Of the vote; it changes probabilities, never a label.
    """
    plain = soft_vote(answers.probabilities, weights)
    labels, votes = plain.argmax(axis=-1), tempered(plain, temperature)
    for row, asked in enumerate(answers.asked.T):
        members = answers.probabilities[:, row]
        if asked.all():
            vote = votes[row]
            yield Verdict(int(labels[row]), vote, margin(vote), entropy_nats(vote), None, members, asked)
        else:
            yield _partial(members, asked, weights, temperature)


def _partial(
    members: NDArray[np.float32], asked: NDArray[np.bool_], weights: Sequence[float], temperature: float
) -> Verdict:
    shares = vote_shares(weights)
    answered = members[asked][:, np.newaxis]
    vote = soft_vote(answered, np.asarray(weights)[asked].tolist())
    lower, upper = tempered_bounds(*bounds(answered, shares[asked], shares[~asked]), temperature)
    pairs = tuple(zip(lower[0].tolist(), upper[0].tolist(), strict=True))
    return Verdict(int(vote[0].argmax()), tempered(vote, temperature)[0], None, None, pairs, members, asked)
