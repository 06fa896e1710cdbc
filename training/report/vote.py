"""Which models should vote, and with which weights? As far as the validation images can tell, and no further.

The vote that decides most validation images right is the luckiest of hundreds, not the best one: what is chosen by a
figure cannot be judged by it (Cawley & Talbot 2010, JMLR 11:2079-2107), and fitted weights do worse on new data than
equal ones unless there is much data to fit them to (Clemen 1989, International Journal of Forecasting 5:559-583;
Smith & Wallis 2009, Oxford Bulletin of Economics and Statistics 71:331-355). So the vote begins where nothing is
chosen, with all models and equal weights, and two questions are asked in turn:

    which models?    another subset takes the place of all models when it is shown to be better
    which weights?   other weights of these models take the place of equal ones when they are shown to be better

"Shown" is McNemar's exact test of the paired decisions, at 5 % for each question, its p-value multiplied by the votes
that were tried for the question: Bonferroni, as S. L. Salzberg 1997 (Data Mining and Knowledge Discovery 1:317-328)
asks for whenever the best of many settings is compared. A smaller vote is not the simpler hypothesis: to leave out a
model is as much of a choice as to weigh it, and "no significant difference" proves nothing in favour of either. What
a member costs in time is weighed by `bt-bench latency`, not here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import combinations, pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.metrics.classification import cross_entropy
from braintumor.bench.metrics.intervals import Pairs, mcnemar_p
from braintumor.errors import UsageError
from braintumor.training.data.predictions import Answers, same_images

__all__ = ["SIGNIFICANCE", "Choice", "Compared", "Vote", "choose_vote", "equal_vote", "soft_vote", "subsets"]

SIGNIFICANCE: Final = 0.05
"""How often chance alone may lead away from what nothing was chosen for, at most; for each of the two questions."""

_PARTS: Final = 10
"""Vote weights are tenths."""


@dataclass(frozen=True, slots=True)
class Vote:
    """One ensemble.

    Attributes:
        members: Names of the models.
        weights: Their weights in the vote, which sum to 1.
    """

    members: tuple[str, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """A vote on the validation images, beside the one that it would replace.

    Attributes:
        vote: The vote.
        accuracy: On the validation images, 0 to 1.
        loss: Cross-entropy there, in nats.
        gained: Images that it alone decides right, of the two.
        lost: Images that the other alone decides right.
        p: Two-sided, of McNemar's exact test; 1 beside itself.
        tried: Votes that were tried for the same question.
    """

    vote: Vote
    accuracy: float
    loss: float
    gained: int
    lost: int
    p: float
    tried: int

    @property
    def p_corrected(self) -> float:
        """The p-value that decides: that of the test times all votes that were tried, at most 1."""
        return min(1.0, self.p * self.tried)

    @property
    def told_apart(self) -> bool:
        """Whether the validation images can tell the two votes apart."""
        return self.p_corrected <= SIGNIFICANCE

    @property
    def better(self) -> bool:
        """Whether it is shown to be better."""
        return self.told_apart and self.gained > self.lost

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self) | {"p_corrected": self.p_corrected, "told_apart": self.told_apart, "better": self.better}


@dataclass(frozen=True, slots=True)
class Choice:
    """The vote that was chosen, and what else was tried.

    Attributes:
        vote: The chosen one.
        models: Each subset with equal weights, most accurate first, beside the chosen models with equal weights.
        weights: The other weights of the chosen models that decide most images right, beside equal ones.
    """

    vote: Vote
    models: tuple[Compared, ...]
    weights: Compared

    @property
    def reference(self) -> Compared:
        """The chosen models with equal weights, beside which all others stand."""
        return next(one for one in self.models if one.vote.members == self.vote.members)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "vote": asdict(self.vote),
            "significance": SIGNIFICANCE,
            "models": [one.to_json() for one in self.models],
            "weights": self.weights.to_json(),
        }


def subsets(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """All combinations of two names and more: 11 for four names."""
    return [chosen for size in range(2, len(names) + 1) for chosen in combinations(names, size)]


def equal_vote(members: tuple[str, ...]) -> Vote:
    """The vote in which each of them counts as much."""
    return Vote(members, (1 / len(members),) * len(members))


def soft_vote(answers: Mapping[str, Answers], vote: Vote) -> Answers:
    """The weighted mean of the members' probabilities."""
    first = answers[vote.members[0]]
    stack = np.stack([answers[name].probabilities for name in vote.members])
    return first.with_probabilities(np.tensordot(np.array(vote.weights), stack, axes=1))


def choose_vote(validation: Mapping[str, Answers]) -> Choice:
    """Answer the two questions at the top of this file.

    Of several subsets that are shown to be better the largest is taken, of equally large ones that with the lowest
    loss; and it has to hold against all others in the same way.

    Args:
        validation: Answers of at least two models to the same validation images.

    Raises:
        UsageError: Fewer than two models.
        IntegrityError: The images are not the same.
    """
    if len(validation) < 2:  # noqa: PLR2004 - a vote
        raise UsageError(f"a vote needs two models or more, got {', '.join(validation) or 'none'}")
    same_images(validation)
    others = [equal_vote(members) for members in subsets(tuple(validation))]
    equal = others[-1]
    models = _beside(validation, equal, others)
    while better := [one for one in models if one.better]:
        equal = max(better, key=lambda one: (len(one.vote.members), -one.loss)).vote
        models = _beside(validation, equal, others)
    weighted = [Vote(equal.members, weights) for weights in _other_weights(len(equal.members))]
    best = max(_beside(validation, equal, weighted), key=_rank)
    models.sort(key=_rank, reverse=True)
    return Choice(best.vote if best.better else equal, tuple(models), best)


def _rank(one: Compared) -> tuple[float, float]:
    return one.accuracy, -one.loss


def _beside(validation: Mapping[str, Answers], reference: Vote, votes: list[Vote]) -> list[Compared]:
    """Each vote beside the reference; a reference among them was not tried for anything."""
    tried = max(1, sum(vote != reference for vote in votes))
    wanted = _right(soft_vote(validation, reference))
    found = []
    for vote in votes:
        answers = soft_vote(validation, vote)
        right = _right(answers)
        pairs = Pairs.of(wanted, right)
        loss = cross_entropy(answers.probabilities, answers.labels)
        accuracy = float(right.mean())
        p = mcnemar_p(pairs)
        found.append(Compared(vote, accuracy, loss, pairs.only_second, pairs.only_first, p, tried))
    return found


def _right(answers: Answers) -> NDArray[np.bool_]:
    right: NDArray[np.bool_] = answers.probabilities.argmax(axis=1) == answers.labels
    return right


def _other_weights(members: int) -> Iterator[tuple[float, ...]]:
    """All weights in tenths with every member at one tenth and more, but the equal ones."""
    for cuts in combinations(range(1, _PARTS), members - 1):
        parts = [high - low for low, high in pairwise((0, *cuts, _PARTS))]
        if len(set(parts)) > 1:
            yield tuple(part / _PARTS for part in parts)
