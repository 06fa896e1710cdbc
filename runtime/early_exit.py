"""The rule by which a vote is decided before every member has voted, and the proof that it keeps the label.

Let s_i >= 0 be the shares of the m members (`vote_shares`, exact float32 numbers), p_ic the probability that
member i gives class c, and V_c = fl(sum_i s_i p_ic) the full vote as `soft_vote` computes it in float32. Some
members have answered: P_c is their part of the exact sum, w the sum of the shares to come. `leaders` takes class
l as decided when for every other class r

    P_l - P_r > w + slack(m).

Claim: V_l > V_r for every r, whatever the others answer: the full vote has the label l, and no tie.

Proof. Let u = 2^-24 and e = 2^-20. Every probability lies in 0..1 + e: a softmax may exceed 1 by its rounding. For
the exact sums F_c therefore F_l >= P_l and F_r <= P_r + w (1 + e), and since w <= 1 + m u,

    F_l - F_r > slack(m) - 1.01 e.

A float32 sum of m products obeys |V_c - F_c| <= g F_c + m 2^-126 with g = (m + 1) u / (1 - (m + 1) u) (N. J. Higham,
"Accuracy and Stability of Numerical Algorithms", 2nd edition, section 3.1; the last term is for underflow, flushed
to zero or not), and F_c <= (1 + m u)(1 + e) < 1.01 for up to 10^5 members. So

    V_l - V_r > slack(m) - 1.01 e - 2.02 g - 2 m 2^-126.

slack(m) = 4 (m + 1) u + 2 e is more than that: 2.02 g < 3 (m + 1) u, and what is left, (m + 1) u + 0.99 e, is far
above the underflow and above the error of P and w, which are summed in float64. QED.

Two equal members never decide early (a lead of at most 1/2 against 1/2 to come), three can after two. Outside the
claim: a member that did not run might have answered with NaN, and then the full vote gives no label at all.
"""

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["UNDECIDED", "bounds", "leaders", "running_order", "slack"]

UNDECIDED: Final = -1

_UNIT_ROUNDOFF: Final = 2.0**-24
_EXCESS: Final = 2.0**-20
# Of more members than this, the subsets are too many to be searched.
_MAX_SEARCHED: Final = 12


def slack(members: int) -> float:
    """By how much a lead must exceed the shares to come, for rounding; see the proof above."""
    return 4 * (members + 1) * _UNIT_ROUNDOFF + 2 * _EXCESS


def leaders(
    answers: NDArray[np.float32], shares: NDArray[np.float32], to_come: NDArray[np.float32]
) -> NDArray[np.intp]:
    """The class that the full vote will have, where that is certain.

    Args:
        answers: float32 [answered, batch, classes], of the members that have answered.
        shares: float32 [answered], their shares of the vote.
        to_come: float32 [others], the shares of the members that have not.

    Returns:
        int [batch]: index of the class; `UNDECIDED` where the others may still decide, and where an answer is not a
        probability (NaN, negative, above 1).
    """
    partial = _partial_vote(answers, shares)
    ordered = np.sort(partial, axis=-1)
    lead = ordered[:, -1] - ordered[:, -2]
    certain = lead > to_come.sum(dtype=np.float64) + slack(len(shares) + len(to_come))
    valid = ((answers >= 0) & (answers <= 1 + _EXCESS)).all(axis=(0, 2))
    return np.where(certain & valid, partial.argmax(axis=-1), UNDECIDED)


def bounds(
    answers: NDArray[np.float32], shares: NDArray[np.float32], to_come: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bounds of the full vote: the members to come give a class nothing, or all that they have.

    Args:
        answers: float32 [answered, batch, classes].
        shares: float32 [answered], their shares of the vote.
        to_come: float32 [others], the shares of the members that have not answered.

    Returns:
        float64 [batch, classes] twice, lower and upper, within 0..1; rounding of the vote (`slack`) aside.
    """
    lower = _partial_vote(answers, shares)
    return np.clip(lower, 0, 1), np.clip(lower + to_come.sum(dtype=np.float64), 0, 1)


def running_order(shares: Sequence[float], costs: Sequence[float]) -> tuple[int, ...]:
    """The order in which members cost least, when those that run first are sure and agree, as most often they do.

    No vote is decided before those that ran hold more than half of it, and a vote of sure members that agree is
    decided then. So the cheapest set that holds more than half runs first; the others follow, most share for their
    cost first. The order decides the time only, never the label.

    Args:
        shares: One a member.
        costs: One a member, above 0, in any unit.

    Returns:
        Indices of all members. Equal ones stay in the order in which they came.
    """
    by_value = sorted(range(len(shares)), key=lambda index: (-shares[index] / costs[index], index))
    if len(shares) > _MAX_SEARCHED:
        return tuple(by_value)
    first = min(
        (
            subset
            for size in range(1, len(shares) + 1)
            for subset in itertools.combinations(range(len(shares)), size)
            if sum(shares[index] for index in subset) > sum(shares) / 2
        ),
        key=lambda subset: (sum(costs[index] for index in subset), subset),
    )
    return (*(index for index in by_value if index in first), *(index for index in by_value if index not in first))


def _partial_vote(answers: NDArray[np.float32], shares: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.tensordot(shares.astype(np.float64), answers.astype(np.float64), axes=1)
