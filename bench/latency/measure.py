"""How fast bundles answer, beside each other and beside peers: every speed a comparison made in one run.

Each contender lives in a process of its own, loads once, and is asked by turns, so that what disturbs one disturbs
all and no one's memory or threads stand in another's way. Every second round runs in reverse, lest one always follow
the same neighbour.
"""

import contextlib
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, count
from pathlib import Path
from types import MappingProxyType
from typing import Final

from braintumor.bench.document import field_values
from braintumor.bench.latency.decisions import Known, Running, decide, pareto_of, result_of
from braintumor.bench.latency.images import TimedImages, timed_images
from braintumor.bench.latency.options import LatencyOptions, Planned, planned, shared_classes
from braintumor.bench.latency.process import ContenderProcess
from braintumor.bench.latency.result import (
    BatchTimes,
    ColdStart,
    Comparison,
    LatencyResult,
    Skipped,
)
from braintumor.bench.latency.runners.base import Call
from braintumor.bench.metrics.environment import environment
from braintumor.bench.metrics.ratio import paired_ratio
from braintumor.bench.metrics.stability import is_stable, measure_until_stable
from braintumor.bench.metrics.timing import Samples, timer_overhead_ms
from braintumor.errors import BraintumorError, UnavailableError

__all__ = ["measure_latency"]

Told = Callable[[str], object]
"""Is told what is being done, a line at a time."""

_MAX_CALLS: Final = 50
_DEVICE_CALLS: Final = 10
# Threads of the one before may still spin for work.
_SETTLE_S: Final = 0.02


def measure_latency(
    options: LatencyOptions,
    told: Told = print,
    kept: Callable[[LatencyResult], object] | None = None,
    known: Known = MappingProxyType({}),
) -> LatencyResult:
    """Start all contenders, measure every batch size in turns, and see what they decide.

    Args:
        options: What to compare.
        told: Of the progress.
        kept: Is given all that was measured so far, after every batch size.
        known: What was decided before, on the same images; of others it is asked.

    Raises:
        BraintumorError: A bundle, an engine that was asked for by name, or the images cannot be used.
    """
    begun = environment()
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(tempfile.TemporaryDirectory(prefix="braintumor-latency-"))
        classes = shared_classes(options)
        images = timed_images(
            options.data, options.images, Path(work), all_decided=options.all_decided, classes=classes
        )
        running, skipped = _started(options, images, stack, told)
        comparisons: list[Comparison] = []

        def so_far(unfinished: str | None) -> LatencyResult:
            contenders = tuple(result_of(one, running[0], images) for one in running)
            return LatencyResult(
                command=options.command,
                images=images.summary,
                options=options.settings,
                environment=begun,
                timer_overhead_ms=timer_overhead_ms(),
                stable=all(times.stable for one in contenders for times in one.batches),
                contenders=contenders,
                comparisons=tuple(comparisons),
                inference_s=sum(one.inference_s for one in running),
                unfinished=unfinished,
                skipped=tuple(skipped),
                pareto=() if unfinished else pareto_of(running, images, options),
            )

        following = [*(f"before batch {batch}" for batch in options.batches[1:]), "before the decisions"]
        for batch, comes in zip(options.batches, following, strict=True):
            told(f"batch {batch}: {', '.join(one.key for one in running)}")
            comparisons += _measured(running, batch, images, options)
            if kept is not None:
                kept(so_far(comes))
        told(f"decisions on {len(images.paths)} images")
        for one in running:
            decide(one, images, max(options.batches), known)
        return so_far(None)


def _started(
    options: LatencyOptions, images: TimedImages, stack: contextlib.ExitStack, told: Told
) -> tuple[list[Running], list[Skipped]]:
    running: list[Running] = []
    skipped: list[Skipped] = []
    for one in planned(options):
        if isinstance(one, Skipped):
            skipped.append(one)
            continue
        told(f"starting {one.name}")
        try:
            process, cold_start = _cold(one, images, options.cold_starts)
        except BraintumorError as error:
            if not one.optional:
                raise
            skipped.append(Skipped(one.name, str(error)))
            continue
        stack.enter_context(process)
        bundle = Path(str(one.spec.options["bundle"])) if one.spec.asked else None
        running.append(Running(_own_key(process.info.key, running), process, bundle, cold_start))
    if not running:
        reasons = "; ".join(f"{one.name}: {one.reason}" for one in skipped)
        raise UnavailableError(f"nothing can be timed here: {reasons}")
    return running, skipped


def _own_key(key: str, running: Sequence[Running]) -> str:
    """Told apart from those that are called the same, as when a bundle is compared with itself."""
    taken = {one.key for one in running}
    numbered = (key if number == 1 else f"{key} #{number}" for number in count(1))
    return next(name for name in numbered if name not in taken)


def _cold(one: Planned, images: TimedImages, times: int) -> tuple[ContenderProcess, ColdStart]:
    filling_ms = None
    if one.spec.caches:
        with ContenderProcess(one.spec, images.paths) as filling:
            filling_ms = filling.cold_start_ms
    starts_ms = []
    for _ in range(times - 1):
        with ContenderProcess(one.spec, images.paths) as process:
            starts_ms.append(process.cold_start_ms)
    process = ContenderProcess(one.spec, images.paths)
    return process, ColdStart(**field_values(Samples.of((*starts_ms, process.cold_start_ms))), filling_ms=filling_ms)


def _measured(
    running: Sequence[Running], batch: int, images: TimedImages, options: LatencyOptions
) -> list[Comparison]:
    """Measure one batch size of all; their times are kept with each."""
    batches = _batches(batch, images.timed)
    first_ms = [one.process.answer([next(batches)]).calls[0].total_ms for one in running]
    a_turn = min(_MAX_CALLS, math.ceil(options.turn_ms / min(first_ms)))
    calls: list[list[Call]] = [[] for _ in running]

    def turns() -> list[float]:
        asked = [next(batches) for _ in range(a_turn)]
        order = list(range(len(running)))
        if len(calls[0]) // a_turn % 2:
            order.reverse()
        means_ms = [0.0] * len(running)
        for index in order:
            time.sleep(_SETTLE_S)
            taken = running[index].process.answer(asked).calls
            calls[index] += taken
            means_ms[index] = statistics.fmean(call.total_ms for call in taken)
        return means_ms

    columns, _ = measure_until_stable(turns, options.window)
    stable = [is_stable(column, options.window.tolerance) for column in columns]
    for index, one in enumerate(running):
        one.batches.append(_times(one, batch, first_ms[index], calls[index], images, options, stable=stable[index]))
    return [
        Comparison(
            batch,
            running[i].key,
            running[j].key,
            paired_ratio(*([call.total_ms for call in calls[index]] for index in (i, j))),
            stable[i] and stable[j],
        )
        for i, j in combinations(range(len(running)), 2)
    ]


def _batches(batch: int, images: int) -> Iterator[list[int]]:
    """Batches of images, on and on, in their order."""
    place = 0
    while True:
        yield [(place + offset) % images for offset in range(batch)]
        place = (place + batch) % images


def _times(
    one: Running,
    batch: int,
    first_ms: float,
    calls: Sequence[Call],
    images: TimedImages,
    options: LatencyOptions,
    *,
    stable: bool,
) -> BatchTimes:
    indices = next(_batches(batch, images.timed))
    device = one.process.device_times(indices, _DEVICE_CALLS)
    energy = one.process.energy([indices], options.energy_s)
    samples = Samples.of(call.total_ms for call in calls)
    return BatchTimes(
        batch=batch,
        first_ms=first_ms,
        **field_values(samples),
        images_per_s=samples.images_per_s(batch),
        stages=_columns([call.stages_ms for call in calls]),
        members=_columns([call.members_ms for call in calls]),
        stable=stable,
        peak_rss_mb=one.process.peak_rss_mb(),
        device=device,
        energy=energy,
    )


def _columns(calls: Sequence[Mapping[str, float]]) -> dict[str, Samples]:
    names = dict.fromkeys(name for call in calls for name in call)
    return {name: Samples.of(call[name] for call in calls if name in call) for name in names}
