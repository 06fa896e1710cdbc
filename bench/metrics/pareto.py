"""Accuracy against latency, for every subset of an ensemble: is a member worth the time that it takes?

A subset's accuracy comes from the members' own probabilities, its time from the members' own times: the vote of some
of them needs no run of its own. What members share (decoding, assembling, the vote) counts for every subset.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.document import Positive
from braintumor.errors import UsageError
from braintumor.runtime.vote import soft_vote

__all__ = ["Measured", "ParetoPoint", "pareto_front", "subset_points"]

# 2^10 subsets; of larger ensembles no one would read the chart.
_MAX_MEMBERS: Final = 10


@dataclass(frozen=True, slots=True)
class ParetoPoint:
    """One subset of one ensemble on one engine.

    Attributes:
        contender: Key of the bundle on its engine.
        precision: Of the bundle.
        engine: Name of the engine.
        members: The subset.
        accuracy: Share of the images that its vote answers rightly, 0..1.
        images: How many images that was judged on.
        ms_per_image: Median time a call over the batch size.
        batch: Images a call.
        on_front: No other point is at least as accurate and faster, or more accurate and as fast.
    """

    contender: str
    precision: str
    engine: str
    members: tuple[str, ...]
    accuracy: float
    images: int
    ms_per_image: Positive
    batch: int
    on_front: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """An ensemble, judged and timed.

    Attributes:
        contender: Key of the bundle on its engine.
        precision: Of the bundle.
        engine: Name of the engine.
        weights: Member → its weight in the vote, in the order of the probabilities.
        probabilities: float32 [members, images, classes].
        labels: int [images].
        member_ms: Member → milliseconds that it takes a call.
        shared_ms: What every call takes beside its members.
        batch: Images a call.
    """

    contender: str
    precision: str
    engine: str
    weights: Mapping[str, float]
    probabilities: NDArray[np.float32]
    labels: NDArray[np.int64]
    member_ms: Mapping[str, float]
    shared_ms: float
    batch: int

    def __post_init__(self) -> None:
        """Refuse what does not belong together."""
        members, images = self.probabilities.shape[:2]
        if members != len(self.weights) or images != len(self.labels) or set(self.member_ms) != set(self.weights):
            raise UsageError(
                f"probabilities of {members} members for {images} images, {len(self.weights)} weights, times of "
                f"{', '.join(self.member_ms)} and {len(self.labels)} labels do not belong to one ensemble"
            )
        if not images or members > _MAX_MEMBERS:
            raise UsageError(f"{members} members and {images} images; allowed are 1 to {_MAX_MEMBERS} and 1 or more")


def subset_points(measured: Sequence[Measured]) -> tuple[ParetoPoint, ...]:
    """Every subset of every ensemble, those on the front of all of them marked.

    Args:
        measured: Judged on the same images, timed at the same batch size.
    """
    return pareto_front([point for one in measured for point in _subsets(one)])


def pareto_front(points: Sequence[ParetoPoint]) -> tuple[ParetoPoint, ...]:
    """The same points; those that no other beats are marked."""
    return tuple(replace(point, on_front=not any(_beats(other, point) for other in points)) for point in points)


def _beats(other: ParetoPoint, point: ParetoPoint) -> bool:
    no_worse = other.accuracy >= point.accuracy and other.ms_per_image <= point.ms_per_image
    better = other.accuracy > point.accuracy or other.ms_per_image < point.ms_per_image
    return no_worse and better


def _subsets(measured: Measured) -> list[ParetoPoint]:
    names = list(measured.weights)
    chosen = itertools.chain.from_iterable(
        itertools.combinations(range(len(names)), size) for size in range(1, len(names) + 1)
    )
    points = []
    for indices in chosen:
        members = tuple(names[index] for index in indices)
        vote = soft_vote(measured.probabilities[list(indices)], [measured.weights[name] for name in members])
        call_ms = measured.shared_ms + sum(measured.member_ms[name] for name in members)
        points.append(
            ParetoPoint(
                measured.contender,
                measured.precision,
                measured.engine,
                members,
                accuracy=float((vote.argmax(axis=1) == measured.labels).mean()),
                images=len(measured.labels),
                ms_per_image=call_ms / measured.batch,
                batch=measured.batch,
            )
        )
    return points
