"""Measure how fast bundles and baselines run, beside each other in one run.

Each runner lives in a process of its own and loads once. The runners take turns, so that a disturbance affects all of
them, and none shares memory or threads with another. Every second round runs in reverse order, so that no runner
always follows the same neighbour.
"""

import contextlib
import math
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, count
from pathlib import Path
from types import MappingProxyType
from typing import Final

from braintumor.bench.document import field_values
from braintumor.bench.latency.decisions import (
    ActiveRunner,
    KnownPredictions,
    pareto_points,
    predict_all,
    runner_result,
)
from braintumor.bench.latency.images import TimedImages, timed_images
from braintumor.bench.latency.options import LatencyOptions, PlannedRunner, plan_runners, shared_classes
from braintumor.bench.latency.process import RunnerProcess
from braintumor.bench.latency.result import BatchTimes, ColdStart, Comparison, LatencyResult, Skipped
from braintumor.bench.latency.runners.base import Call
from braintumor.bench.latency.turns import batch_indices, take_turns
from braintumor.bench.metrics.environment import environment
from braintumor.bench.metrics.ratio import paired_ratio
from braintumor.bench.metrics.stability import is_stable, measure_until_stable
from braintumor.bench.metrics.timing import Samples, timer_overhead_ms
from braintumor.errors import BraintumorError, UnavailableError

__all__ = ["measure_latency"]

ProgressCallback = Callable[[str], object]
"""Is called with a line for each step that begins."""

_MAX_CALLS: Final = 50
_DEVICE_CALLS: Final = 10


def measure_latency(
    options: LatencyOptions,
    progress: ProgressCallback = print,
    on_result: Callable[[LatencyResult], object] | None = None,
    known: KnownPredictions = MappingProxyType({}),
) -> LatencyResult:
    """Start all runners, time every batch size in turns, and compare their labels.

    Args:
        options: Bundles, engines, baselines and batch sizes.
        progress: Is called with a line for each step that begins.
        on_result: Is called with the result so far, after every batch size.
        known: Predictions on the same images from an earlier step; other runners are run on them.

    Raises:
        BraintumorError: A bundle, an engine that was named, or the images cannot be used.
    """
    measured_on = environment()
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(tempfile.TemporaryDirectory(prefix="braintumor-latency-"))
        classes = shared_classes(options)
        images = timed_images(
            options.data,
            options.images,
            Path(work),
            all_decided=options.all_decided,
            classes=classes,
            note=None if known else progress,  # the step before has told it
        )
        runners, skipped = _start_runners(options, images, stack, progress)
        comparisons: list[Comparison] = []

        def result_so_far(unfinished: str | None) -> LatencyResult:
            results = tuple(runner_result(runner, runners[0], images) for runner in runners)
            return LatencyResult(
                command=options.command,
                images=images.summary,
                options=options.settings,
                environment=measured_on,
                timer_overhead_ms=timer_overhead_ms(),
                stable=all(times.stable for result in results for times in result.batches),
                runners=results,
                comparisons=tuple(comparisons),
                inference_s=sum(runner.inference_s for runner in runners),
                unfinished=unfinished,
                skipped=tuple(skipped),
                pareto=() if unfinished else pareto_points(runners, images, options),
            )

        next_steps = [*(f"before batch {batch}" for batch in options.batches[1:]), "before the decisions"]
        for batch, next_step in zip(options.batches, next_steps, strict=True):
            progress(f"batch {batch}: {', '.join(runner.key for runner in runners)}")
            comparisons += _measure_batch(runners, batch, images, options)
            if on_result is not None:
                on_result(result_so_far(next_step))
        progress(f"decisions on {len(images.paths)} images")
        for runner in runners:
            predict_all(runner, images, max(options.batches), known)
        return result_so_far(None)


def _start_runners(
    options: LatencyOptions, images: TimedImages, stack: contextlib.ExitStack, progress: ProgressCallback
) -> tuple[list[ActiveRunner], list[Skipped]]:
    runners: list[ActiveRunner] = []
    skipped: list[Skipped] = []
    for planned in plan_runners(options):
        if isinstance(planned, Skipped):
            skipped.append(planned)
            continue
        progress(f"starting {planned.name}")
        try:
            process, cold_start = _cold_start(planned, images, options.cold_starts)
        except BraintumorError as error:
            if not planned.optional:
                raise
            skipped.append(Skipped(planned.name, str(error)))
            continue
        stack.enter_context(process)
        bundle = Path(str(planned.spec.options["bundle"])) if planned.spec.engine else None
        runners.append(ActiveRunner(_unique_key(process.info.key, runners), process, bundle, cold_start))
    if not runners:
        reasons = "; ".join(f"{runner.name}: {runner.reason}" for runner in skipped)
        raise UnavailableError(f"nothing can be timed here: {reasons}")
    return runners, skipped


def _unique_key(key: str, runners: Sequence[ActiveRunner]) -> str:
    """The key, numbered if another runner has it, as when a bundle is compared with itself."""
    taken = {runner.key for runner in runners}
    numbered = (key if number == 1 else f"{key} #{number}" for number in count(1))
    return next(name for name in numbered if name not in taken)


def _cold_start(planned: PlannedRunner, images: TimedImages, starts: int) -> tuple[RunnerProcess, ColdStart]:
    """Start a runner several times, one process after the other; the last process stays."""
    filling_ms = None
    if planned.spec.caches:
        with RunnerProcess(planned.spec, images.paths) as filling:
            filling_ms = filling.cold_start_ms
    starts_ms = []
    for _ in range(starts - 1):
        with RunnerProcess(planned.spec, images.paths) as process:
            starts_ms.append(process.cold_start_ms)
    process = RunnerProcess(planned.spec, images.paths)
    return process, ColdStart(**field_values(Samples.of((*starts_ms, process.cold_start_ms))), filling_ms=filling_ms)


def _measure_batch(
    runners: Sequence[ActiveRunner], batch: int, images: TimedImages, options: LatencyOptions
) -> list[Comparison]:
    """Time all runners at one batch size; the times are added to each runner."""
    batches = batch_indices(batch, images.timed)
    processes = [runner.process for runner in runners]
    first_ms = [process.predict([next(batches)]).calls[0].total_ms for process in processes]
    calls_per_turn = min(_MAX_CALLS, math.ceil(options.turn_ms / min(first_ms)))
    calls: list[list[Call]] = [[] for _ in runners]

    def run_round() -> list[float]:
        backwards = bool(len(calls[0]) // calls_per_turn % 2)
        turns = take_turns(processes, [next(batches) for _ in range(calls_per_turn)], backwards=backwards)
        for all_calls, turn in zip(calls, turns, strict=True):
            all_calls.extend(turn)
        return [statistics.fmean(call.total_ms for call in turn) for turn in turns]

    columns, _ = measure_until_stable(run_round, options.window)
    stable = [is_stable(column, options.window.tolerance) for column in columns]
    for index, runner in enumerate(runners):
        times = _batch_times(runner, batch, first_ms[index], calls[index], images, options, stable=stable[index])
        runner.batches.append(times)
    return [
        Comparison(
            batch,
            runners[i].key,
            runners[j].key,
            paired_ratio(*([call.total_ms for call in calls[index]] for index in (i, j))),
            stable[i] and stable[j],
        )
        for i, j in combinations(range(len(runners)), 2)
    ]


def _batch_times(
    runner: ActiveRunner,
    batch: int,
    first_ms: float,
    calls: Sequence[Call],
    images: TimedImages,
    options: LatencyOptions,
    *,
    stable: bool,
) -> BatchTimes:
    indices = next(batch_indices(batch, images.timed))
    device = runner.process.device_times(indices, _DEVICE_CALLS)
    energy = runner.process.energy([indices], options.energy_s)
    samples = Samples.of(call.total_ms for call in calls)
    return BatchTimes(
        batch=batch,
        first_ms=first_ms,
        **field_values(samples),
        images_per_s=samples.images_per_s(batch),
        stages=_columns([call.stages_ms for call in calls]),
        members=_columns([call.members_ms for call in calls]),
        stable=stable,
        peak_rss_mb=runner.process.peak_rss_mb(),
        device=device,
        energy=energy,
    )


def _columns(calls: Sequence[Mapping[str, float]]) -> dict[str, Samples]:
    names = dict.fromkeys(name for call in calls for name in call)
    return {name: Samples.of(call[name] for call in calls if name in call) for name in names}
