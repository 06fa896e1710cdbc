"""The choice of models and weights for the vote, as far as the validation images can tell.

The vote that decides most validation images right is the luckiest of hundreds, not the best one: what is chosen by a
figure cannot be judged by it (Cawley & Talbot 2010, JMLR 11:2079-2107), and fitted weights do worse on new data than
equal ones unless there is much data to fit them to (Clemen 1989, International Journal of Forecasting 5:559-583;
Smith & Wallis 2009, Oxford Bulletin of Economics and Statistics 71:331-355). So the vote begins where nothing is
chosen, with all models and equal weights, and answers two questions in turn:

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
from braintumor.training.data.predictions import Predictions, check_same_images

__all__ = [
    "SIGNIFICANCE",
    "Vote",
    "VoteChoice",
    "VoteComparison",
    "choose_vote",
    "equal_vote",
    "soft_vote",
    "subsets",
]

SIGNIFICANCE: Final = 0.05
"""Level of the test for each of the two questions."""

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
class VoteComparison:
    """A vote on the validation images, compared with the one that it would replace.

    Attributes:
        vote: The vote.
        accuracy: On the validation images, 0 to 1.
        loss: Cross-entropy there, in nats.
        gained: Images that it alone decides right, of the two.
        lost: Images that the other alone decides right.
        p: Two-sided, of McNemar's exact test; 1 when compared with itself.
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
        """p-value times the votes that were tried, at most 1: the one that decides."""
        return min(1.0, self.p * self.tried)

    @property
    def is_significant(self) -> bool:
        """Whether the validation images can tell the two votes apart."""
        return self.p_corrected <= SIGNIFICANCE

    @property
    def better(self) -> bool:
        """Whether it is significantly better."""
        return self.is_significant and self.gained > self.lost

    def to_json(self) -> dict[str, Any]:
        """Convert to plain data."""
        return asdict(self) | {
            "p_corrected": self.p_corrected,
            "told_apart": self.is_significant,
            "better": self.better,
        }


@dataclass(frozen=True, slots=True)
class VoteChoice:
    """The vote that was chosen, and what else was tried.

    Attributes:
        vote: The chosen one.
        models: Each subset with equal weights, most accurate first, compared with the chosen one.
        weights: The other weights of the chosen models that decide most images right, compared with equal ones.
    """

    vote: Vote
    models: tuple[VoteComparison, ...]
    weights: VoteComparison

    @property
    def reference(self) -> VoteComparison:
        """The chosen models with equal weights, with which all others are compared."""
        return next(compared for compared in self.models if compared.vote.members == self.vote.members)

    def to_json(self) -> dict[str, Any]:
        """Convert to plain data."""
        return {
            "vote": asdict(self.vote),
            "significance": SIGNIFICANCE,
            "models": [compared.to_json() for compared in self.models],
            "weights": self.weights.to_json(),
        }


def subsets(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """List all combinations of two names and more: 11 for four names."""
    return [members for size in range(2, len(names) + 1) for members in combinations(names, size)]


def equal_vote(members: tuple[str, ...]) -> Vote:
    """Give each member the same weight."""
    return Vote(members, (1 / len(members),) * len(members))


def soft_vote(predictions: Mapping[str, Predictions], vote: Vote) -> Predictions:
    """Compute the weighted mean of the members' probabilities."""
    first = predictions[vote.members[0]]
    stack = np.stack([predictions[name].probabilities for name in vote.members])
    return first.with_probabilities(np.tensordot(np.array(vote.weights), stack, axes=1))


def choose_vote(validation: Mapping[str, Predictions]) -> VoteChoice:
    """Answer the two questions at the top of this file.

    Of several subsets that are shown to be better the largest is taken, of equally large ones that with the lowest
    loss; and it has to hold against all others in the same way.

    Args:
        validation: Predictions of at least two models to the same validation images.

    Raises:
        UsageError: Fewer than two models.
        IntegrityError: The images are not the same.
    """
    if len(validation) < 2:  # noqa: PLR2004 - a vote
        raise UsageError(f"a vote needs two models or more, got {', '.join(validation) or 'none'}")
    check_same_images(validation)
    others = [equal_vote(members) for members in subsets(tuple(validation))]
    equal = others[-1]
    models = _compare(validation, equal, others)
    while better := [compared for compared in models if compared.better]:
        equal = max(better, key=lambda compared: (len(compared.vote.members), -compared.loss)).vote
        models = _compare(validation, equal, others)
    weighted = [Vote(equal.members, weights) for weights in _other_weights(len(equal.members))]
    best = max(_compare(validation, equal, weighted), key=_rank)
    models.sort(key=_rank, reverse=True)
    return VoteChoice(best.vote if best.better else equal, tuple(models), best)


def _rank(compared: VoteComparison) -> tuple[float, float]:
    return compared.accuracy, -compared.loss


def _compare(validation: Mapping[str, Predictions], reference: Vote, votes: list[Vote]) -> list[VoteComparison]:
    """Compare each vote with the reference; a reference among them is not counted as tried."""
    tried = max(1, sum(vote != reference for vote in votes))
    reference_correct = _correct(soft_vote(validation, reference))
    comparisons = []
    for vote in votes:
        predictions = soft_vote(validation, vote)
        correct = _correct(predictions)
        pairs = Pairs.of(reference_correct, correct)
        comparisons.append(
            VoteComparison(
                vote=vote,
                accuracy=float(correct.mean()),
                loss=cross_entropy(predictions.probabilities, predictions.labels),
                gained=pairs.only_second,
                lost=pairs.only_first,
                p=mcnemar_p(pairs),
                tried=tried,
            )
        )
    return comparisons


def _correct(predictions: Predictions) -> NDArray[np.bool_]:
    correct: NDArray[np.bool_] = predictions.probabilities.argmax(axis=1) == predictions.labels
    return correct


def _other_weights(members: int) -> Iterator[tuple[float, ...]]:
    """List all weights in tenths with every member at one tenth and more, but the equal ones."""
    for cuts in combinations(range(1, _PARTS), members - 1):
        parts = [high - low for low, high in pairwise((0, *cuts, _PARTS))]
        if len(set(parts)) > 1:
            yield tuple(part / _PARTS for part in parts)
