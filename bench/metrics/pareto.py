"""Accuracy against latency of every subset of an ensemble: whether a member is worth its time.

A subset's accuracy comes from the members' own probabilities, its time from the members' own times, so that no subset
has to be run. The time that members share (decoding, stacking, the vote) counts for every subset.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from braintumor.bench.document import Positive
from braintumor.errors import UsageError
from braintumor.runtime.vote import soft_vote

__all__ = ["MeasuredEnsemble", "ParetoPoint", "pareto_front", "subset_points"]

# 2^10 subsets; the chart of a larger ensemble would not be readable.
_MAX_MEMBERS: Final = 10


class ParetoPoint(msgspec.Struct, frozen=True, rename={"runner": "contender"}):
    """One subset of one ensemble on one engine.

    Attributes:
        runner: Key of the bundle on its engine.
        precision: Of the bundle.
        engine: Name of the engine.
        members: The subset.
        accuracy: Share of right labels of its vote, 0..1.
        images: Number of images.
        ms_per_image: Median time of a call over the batch size.
        batch: Images in a batch.
        on_front: No other point is at least as accurate and faster, or more accurate and as fast.
    """

    runner: str
    precision: str
    engine: str
    members: tuple[str, ...]
    accuracy: float
    images: int
    ms_per_image: Positive
    batch: int
    on_front: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredEnsemble:
    """An ensemble with its probabilities and times.

    Attributes:
        runner: Key of the bundle on its engine.
        precision: Of the bundle.
        engine: Name of the engine.
        weights: Member → its weight in the vote, in the order of the probabilities.
        probabilities: float32 [members, images, classes].
        labels: int [images].
        member_ms: Member → its milliseconds in a call.
        shared_ms: Milliseconds of a call outside its members.
        batch: Images in a batch.
    """

    runner: str
    precision: str
    engine: str
    weights: Mapping[str, float]
    probabilities: NDArray[np.float32]
    labels: NDArray[np.int64]
    member_ms: Mapping[str, float]
    shared_ms: float
    batch: int

    def __post_init__(self) -> None:
        """Check that all fields are of the same members and images."""
        members, images = self.probabilities.shape[:2]
        if members != len(self.weights) or images != len(self.labels) or set(self.member_ms) != set(self.weights):
            raise UsageError(
                f"probabilities of {members} members for {images} images, {len(self.weights)} weights, times of "
                f"{', '.join(self.member_ms)} and {len(self.labels)} labels do not belong to one ensemble"
            )
        if not images or members > _MAX_MEMBERS:
            raise UsageError(f"{members} members and {images} images; must be 1 to {_MAX_MEMBERS} and at least 1")


def subset_points(ensembles: Sequence[MeasuredEnsemble]) -> tuple[ParetoPoint, ...]:
    """Every subset of every ensemble, with those on the common front marked.

    Args:
        ensembles: Of the same images and the same batch size.
    """
    return pareto_front([point for ensemble in ensembles for point in _subsets(ensemble)])


def pareto_front(points: Sequence[ParetoPoint]) -> tuple[ParetoPoint, ...]:
    """The same points, with those marked that no other point dominates."""
    return tuple(
        msgspec.structs.replace(point, on_front=not any(_dominates(other, point) for other in points))
        for point in points
    )


def _dominates(other: ParetoPoint, point: ParetoPoint) -> bool:
    no_worse = other.accuracy >= point.accuracy and other.ms_per_image <= point.ms_per_image
    better = other.accuracy > point.accuracy or other.ms_per_image < point.ms_per_image
    return no_worse and better


def _subsets(ensemble: MeasuredEnsemble) -> list[ParetoPoint]:
    names = list(ensemble.weights)
    subsets = itertools.chain.from_iterable(
        itertools.combinations(range(len(names)), size) for size in range(1, len(names) + 1)
    )
    points = []
    for indices in subsets:
        members = tuple(names[index] for index in indices)
        vote = soft_vote(ensemble.probabilities[list(indices)], [ensemble.weights[name] for name in members])
        call_ms = ensemble.shared_ms + sum(ensemble.member_ms[name] for name in members)
        points.append(
            ParetoPoint(
                ensemble.runner,
                ensemble.precision,
                ensemble.engine,
                members,
                accuracy=float((vote.argmax(axis=1) == ensemble.labels).mean()),
                images=len(ensemble.labels),
                ms_per_image=call_ms / ensemble.batch,
                batch=ensemble.batch,
            )
        )
    return points
