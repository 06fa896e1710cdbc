"""The labels that the runners of a latency run give: to the images that are timed, or to all that there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.document import field_values
from braintumor.bench.latency.images import TimedImages
from braintumor.bench.latency.options import LatencyOptions
from braintumor.bench.latency.process import RunnerProcess
from braintumor.bench.latency.result import BatchTimes, ColdStart, Decisions, RunnerResult
from braintumor.bench.metrics.intervals import clopper_pearson
from braintumor.bench.metrics.pareto import MeasuredEnsemble, ParetoPoint, subset_points
from braintumor.errors import UnavailableError
from braintumor.runtime.bundle.load import load_bundle

__all__ = ["ActiveRunner", "KnownPredictions", "RunnerPredictions", "pareto_points", "predict_all", "runner_result"]


@dataclass(frozen=True, slots=True, eq=False)
class RunnerPredictions:
    """Probabilities of all images, in the order of `TimedImages.paths`.

    Attributes:
        votes: float32 [images, classes], in the order of `braintumor.models.labels.usual_order`.
        members: float32 [members, images, classes].
    """

    votes: NDArray[np.float32]
    members: NDArray[np.float32]


KnownPredictions = Mapping[tuple[str | None, str], RunnerPredictions]
"""SHA-256 of a bundle and name of an engine → its predictions from an earlier step."""


@dataclass(slots=True)
class ActiveRunner:
    """A runner with its process, and the measurements so far.

    Attributes:
        key: Its name in the result, unlike any other's.
        process: The process that it lives in.
        bundle: Folder of its bundle; None for a baseline.
        cold_start: Its starts.
        batches: Times, one entry for each batch size that was measured.
        votes: float32 [images, classes]; None before `predict_all`.
        members: float32 [members, images, classes]; None before, and for a runner without members.
    """

    key: str
    process: RunnerProcess
    bundle: Path | None
    cold_start: ColdStart
    batches: list[BatchTimes] = field(default_factory=list)
    votes: NDArray[np.float32] | None = None
    members: NDArray[np.float32] | None = None

    @property
    def inference_s(self) -> float:
        """Seconds within its calls so far."""
        return self.process.inference_s + sum(times.energy.seconds for times in self.batches)


def predict_all(runner: ActiveRunner, images: TimedImages, batch_size: int, known: KnownPredictions) -> None:
    """Run a runner once on every image, unless its predictions are known."""
    total = len(images.paths)
    predictions = known.get((runner.process.info.sha256, runner.process.info.engine.name))
    if predictions is not None and runner.bundle is not None and len(predictions.votes) == total:
        runner.votes, runner.members = predictions.votes, predictions.members
        return
    images.complete()
    batches = [list(range(start, min(start + batch_size, total))) for start in range(0, total, batch_size)]
    results = [runner.process.predict([batch], probabilities=True) for batch in batches]
    runner.votes = np.concatenate([np.array(result.votes[0], np.float32) for result in results])
    if results[0].members[0] is not None:
        runner.members = np.concatenate([np.array(result.members[0], np.float32) for result in results], axis=1)


def runner_result(runner: ActiveRunner, first: ActiveRunner, images: TimedImages) -> RunnerResult:
    """The measurements so far, with the labels compared with those of the first runner."""
    return RunnerResult(
        key=runner.key,
        **field_values(runner.process.info),
        cold_start=runner.cold_start,
        batches=tuple(runner.batches),
        decisions=_decisions(runner, first, images),
    )


def _decisions(runner: ActiveRunner, first: ActiveRunner, images: TimedImages) -> Decisions | None:
    if runner.votes is None or first.votes is None:
        return None
    labels = runner.votes.argmax(axis=1)
    correct = None if images.labels is None else int((labels == images.labels).sum())
    return Decisions(
        images=len(labels),
        correct=correct,
        flips=int((labels != first.votes.argmax(axis=1)).sum()),
        max_abs_difference=float(np.abs(runner.votes - first.votes).max()),
        interval=None if correct is None else _interval(correct, len(labels)),
        accuracy=None if correct is None else correct / len(labels),
    )


def _interval(correct: int, images: int) -> tuple[float, float] | None:
    try:
        return clopper_pearson(correct, images)
    except UnavailableError:
        # Times need no SciPy.
        return None


def pareto_points(
    runners: Sequence[ActiveRunner], images: TimedImages, options: LatencyOptions
) -> tuple[ParetoPoint, ...]:
    """Accuracy against latency of all subsets of the bundles' members, with one front for each batch size."""
    if images.labels is None or options.policy != "full":
        return ()
    points: list[ParetoPoint] = []
    for batch_times in zip(*(runner.batches for runner in runners), strict=True):
        ensembles = [
            _measured_ensemble(runner, times, images.labels, options.public_key)
            for runner, times in zip(runners, batch_times, strict=True)
            if runner.bundle is not None and runner.members is not None
        ]
        points += subset_points(ensembles)
    return tuple(points)


def _measured_ensemble(
    runner: ActiveRunner, times: BatchTimes, labels: NDArray[np.int64], public_key: Path | None
) -> MeasuredEnsemble:
    assert runner.bundle is not None and runner.members is not None  # noqa: S101, PT018 - the caller has checked
    info = runner.process.info
    member_ms = {name: samples.p50_ms for name, samples in times.members.items()}
    return MeasuredEnsemble(
        runner=runner.key,
        precision=info.precision,
        engine=info.engine.name,
        weights={member.name: member.weight for member in load_bundle(runner.bundle, public_key=public_key).members},
        probabilities=runner.members,
        labels=labels,
        member_ms=member_ms,
        # Members that work at the same time take less together than one by one.
        shared_ms=max(0.0, times.p50_ms - sum(member_ms.values())),
        batch=times.batch,
    )
