"""What the contenders of a latency run decided: on the images that were timed, or on all that there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.document import field_values
from braintumor.bench.latency.images import TimedImages
from braintumor.bench.latency.options import LatencyOptions
from braintumor.bench.latency.process import ContenderProcess
from braintumor.bench.latency.result import BatchTimes, ColdStart, ContenderResult, Decisions
from braintumor.bench.metrics.intervals import clopper_pearson
from braintumor.bench.metrics.pareto import Measured, ParetoPoint, subset_points
from braintumor.errors import UnavailableError
from braintumor.runtime.bundle.load import load_bundle

__all__ = ["Known", "Running", "Said", "decide", "pareto_of", "result_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """Answers to all images, in the order of `TimedImages.paths`.

    Attributes:
        votes: float32 [images, classes], in the order of `braintumor.models.labels.usual_order`.
        members: float32 [members, images, classes].
    """

    votes: NDArray[np.float32]
    members: NDArray[np.float32]


Known = Mapping[tuple[str | None, str], Said]
"""SHA-256 of a bundle and name of an engine → what is known of it already."""


@dataclass(slots=True)
class Running:
    """A contender at work, and what was measured of it so far."""

    key: str
    process: ContenderProcess
    bundle: Path | None
    cold_start: ColdStart
    batches: list[BatchTimes] = field(default_factory=list)
    votes: NDArray[np.float32] | None = None
    members: NDArray[np.float32] | None = None

    @property
    def inference_s(self) -> float:
        """Seconds within its calls so far."""
        return self.process.inference_s + sum(times.energy.seconds for times in self.batches)


def decide(one: Running, images: TimedImages, batch: int, known: Known) -> None:
    """Have every image answered once, unless it was before."""
    total = len(images.paths)
    said = known.get((one.process.info.sha256, one.process.info.engine.name))
    if said is not None and one.bundle is not None and len(said.votes) == total:
        one.votes, one.members = said.votes, said.members
        return
    images.complete()
    parts = [list(range(start, min(start + batch, total))) for start in range(0, total, batch)]
    answers = [one.process.answer([part], answers=True) for part in parts]
    one.votes = np.concatenate([np.array(answer.votes[0], np.float32) for answer in answers])
    if answers[0].members[0] is not None:
        one.members = np.concatenate([np.array(answer.members[0], np.float32) for answer in answers], axis=1)


def result_of(one: Running, first: Running, images: TimedImages) -> ContenderResult:
    """All that was measured so far, and what it decided beside the first."""
    return ContenderResult(
        key=one.key,
        **field_values(one.process.info),
        cold_start=one.cold_start,
        batches=tuple(one.batches),
        decisions=_decisions(one, first, images),
    )


def _decisions(one: Running, first: Running, images: TimedImages) -> Decisions | None:
    if one.votes is None or first.votes is None:
        return None
    labels = one.votes.argmax(axis=1)
    correct = None if images.labels is None else int((labels == images.labels).sum())
    return Decisions(
        images=len(labels),
        correct=correct,
        flips=int((labels != first.votes.argmax(axis=1)).sum()),
        max_abs_difference=float(np.abs(one.votes - first.votes).max()),
        interval=None if correct is None else _interval(correct, len(labels)),
        accuracy=None if correct is None else correct / len(labels),
    )


def _interval(correct: int, images: int) -> tuple[float, float] | None:
    try:
        return clopper_pearson(correct, images)
    except UnavailableError:
        # Times need no SciPy.
        return None


def pareto_of(running: Sequence[Running], images: TimedImages, options: LatencyOptions) -> tuple[ParetoPoint, ...]:
    """Of bundles whose members all answered; a front for each batch size."""
    if images.labels is None or options.policy != "full":
        return ()
    points: list[ParetoPoint] = []
    for times in zip(*(one.batches for one in running), strict=True):
        measured = [
            _judged(one, at, images.labels)
            for one, at in zip(running, times, strict=True)
            if one.bundle is not None and one.members is not None
        ]
        points += subset_points(measured)
    return tuple(points)


def _judged(one: Running, times: BatchTimes, labels: NDArray[np.int64]) -> Measured:
    assert one.bundle is not None and one.members is not None  # noqa: S101, PT018 - the caller has looked
    info = one.process.info
    member_ms = {name: samples.p50_ms for name, samples in times.members.items()}
    return Measured(
        contender=one.key,
        precision=info.precision,
        engine=info.engine.name,
        weights={member.name: member.weight for member in load_bundle(one.bundle).members},
        probabilities=one.members,
        labels=labels,
        member_ms=member_ms,
        # Members that work at the same time take less together than one by one.
        shared_ms=max(0.0, times.p50_ms - sum(member_ms.values())),
        batch=times.batch,
    )
