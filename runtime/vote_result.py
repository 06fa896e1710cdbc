"""The result of a vote, image by image, from the members' predictions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braintumor.models.vote_calibration import apply_temperature
from braintumor.runtime.early_exit import bounds
from braintumor.runtime.members import MemberPredictions
from braintumor.runtime.vote import entropy_nats, margin, soft_vote, tempered_bounds, vote_shares

__all__ = ["VoteResult", "vote_results"]


@dataclass(frozen=True, slots=True)
class VoteResult:
    """The ensemble's answer for one image.

    Attributes:
        label: Index of the class with the highest vote.
        vote: float32 [classes]; of those members that ran, at the temperature of the bundle.
        margin: Lead of the label, 0..1; None where not all ran.
        entropy_nats: Of the vote; None where not all ran.
        bounds: Lowest and highest value of each class in the full vote; None where all ran.
        members: float32 [members, classes].
        ran: bool [members].
    """

    label: int
    vote: NDArray[np.floating[Any]]
    margin: float | None
    entropy_nats: float | None
    bounds: tuple[tuple[float, float], ...] | None
    members: NDArray[np.float32]
    ran: NDArray[np.bool_]


def vote_results(
    predictions: MemberPredictions, weights: Sequence[float], temperature: float = 1.0
) -> Iterator[VoteResult]:
    """One result an image, in their order.

    Args:
        predictions: Of a batch.
        weights: One a member.
        temperature: Of the vote; it changes probabilities, never a label.
    """
    plain = soft_vote(predictions.probabilities, weights)
    labels, votes = plain.argmax(axis=-1), apply_temperature(plain, temperature)
    for row, ran in enumerate(predictions.ran.T):
        members = predictions.probabilities[:, row]
        if ran.all():
            vote = votes[row]
            yield VoteResult(int(labels[row]), vote, margin(vote), entropy_nats(vote), None, members, ran)
        else:
            yield _partial(members, ran, weights, temperature)


def _partial(
    members: NDArray[np.float32], ran: NDArray[np.bool_], weights: Sequence[float], temperature: float
) -> VoteResult:
    shares = vote_shares(weights)
    probabilities = members[ran][:, np.newaxis]
    vote = soft_vote(probabilities, np.asarray(weights)[ran].tolist())
    lower, upper = tempered_bounds(*bounds(probabilities, shares[ran], shares[~ran]), temperature)
    pairs = tuple(zip(lower[0].tolist(), upper[0].tolist(), strict=True))
    return VoteResult(int(vote[0].argmax()), apply_temperature(vote, temperature)[0], None, None, pairs, members, ran)
