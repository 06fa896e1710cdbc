"""Tables and charts of the chapters on speed, from a result of `bt-bench latency`."""

from collections.abc import Sequence
from dataclasses import dataclass

from braintumor.bench.latency.result import BatchTimes, Decisions, LatencyResult, RunnerResult, TimedSummary
from braintumor.bench.metrics.pareto import ParetoPoint
from braintumor.bench.report.chart import Chart
from braintumor.bench.report.charts import (
    Bar,
    Interval,
    Point,
    Spread,
    bar_chart,
    interval_chart,
    pareto_chart,
    spread_chart,
)
from braintumor.bench.report.format import interval_text, ms_text, percent
from braintumor.bench.report.html import Table

__all__ = ["BatchView", "FrontView", "LatencyView", "latency_view"]


@dataclass(frozen=True, slots=True, eq=False)
class BatchView:
    """One batch size: times of all runners, and ratios to the first; None where it is alone."""

    heading: str
    spreads: Chart
    times: Table
    ratios: Chart | None


@dataclass(frozen=True, slots=True, eq=False)
class FrontView:
    """Accuracy against latency at one batch size; the table names the points of the front."""

    chart: Chart
    caption: str
    table: Table


@dataclass(frozen=True, slots=True, eq=False)
class LatencyView:
    """Contents of templates/latency.html.j2.

    Attributes:
        images: On which images, and whether the run was cut short.
        overview: Decisions and speed of each runner, on the same images.
        batches: By batch size.
        stages_heading: Batch size of `stages`.
        stages: Where the time goes.
        energies: Of the GPU, a runner; None where it was not measured.
        starts: Time to the first answer.
        peaks: Memory; None where it was not measured.
        peaks_caption: Up to which batch size.
        fronts: By batch size.
    """

    images: str
    overview: Table
    batches: Sequence[BatchView]
    stages_heading: str
    stages: Table
    energies: Table | None
    starts: Chart
    peaks: Chart | None
    peaks_caption: str
    fronts: Sequence[FrontView]


def latency_view(latency: LatencyResult) -> LatencyView:
    """Draw and tabulate a result."""
    runners, images = latency.runners, latency.images
    cut_short = f" The run was cut short {latency.unfinished}." if latency.unfinished else ""
    largest = max(latency.batches)
    return LatencyView(
        images=f"{images.count} images ({images.source}).{cut_short}",
        overview=_overview(latency),
        batches=[_batch(batch, latency) for batch in latency.batches],
        stages_heading=f"Where the time goes, {_at_a_time(largest)}",
        stages=_stages(runners, largest),
        energies=_energies(runners, largest),
        starts=_starts(runners),
        peaks=_peaks(runners),
        peaks_caption=f"Peak of each process, up to batch {runners[0].batches[-1].batch}.",
        fronts=[_front(batch, latency) for batch in dict.fromkeys(point.batch for point in latency.pareto)],
    )


def _evaluated_on(images: TimedSummary) -> str:
    """Say on which images the accuracies rest."""
    if images.decided == images.count:
        return f"the {images.count} images that were timed"
    return f"all {images.decided} images"


def _at_a_time(batch: int) -> str:
    return "one image at a time" if batch == 1 else f"{batch} images at a time"


def _overview(latency: LatencyResult) -> Table:
    first, last = latency.batches[0], latency.batches[-1]
    rows = []
    for runner in latency.runners:
        peak_mb = runner.at(last).peak_rss_mb
        rows.append(
            (
                runner.key,
                *_decisions(runner.decisions),
                ms_text(runner.at(first).p50_ms),
                f"{runner.at(last).images_per_s:.1f}",
                f"{runner.cold_start.p50_ms / 1000:.2f}",
                "" if peak_mb is None else f"{peak_mb:,.0f}",
            )
        )
    speeds = (f"ms, batch {first}", f"images/s, batch {last}", "start s", "peak MB")
    baseline, images = latency.runners[0].key, _evaluated_on(latency.images)
    caption = f"Right, flips and max |Δp|: on {images}; flips and max |Δp| are from {baseline}."
    return Table(("runner", "right", "flips", "max |Δp|", *speeds), rows, caption=caption)


def _decisions(decisions: Decisions | None) -> tuple[str, str, str]:
    if decisions is None:
        return ("", "", "")
    interval = "" if decisions.interval is None else f" {interval_text(decisions.interval)}"
    return (
        percent(decisions.accuracy) + interval,
        f"{decisions.flips} of {decisions.images}",
        f"{decisions.max_abs_difference:.1g}",
    )


def _batch(batch: int, latency: LatencyResult) -> BatchView:
    runners = sorted(latency.runners, key=lambda runner: runner.at(batch).p50_ms)
    times = {_stability_marked(runner.key, runner.at(batch)): runner.at(batch) for runner in runners}
    spreads = [
        Spread(name, at.p50_ms, at.p95_ms, at.p99_ms, at.max_ms, f"{ms_text(at.p50_ms)} ms")
        for name, at in times.items()
    ]
    head = ("runner", "p50 ms", "p90", "p95", "p99", "max", "first call", "images/s", "calls")
    return BatchView(
        heading=_at_a_time(batch).capitalize(),
        spreads=spread_chart(spreads, axis="milliseconds per call", alt=f"times of calls of {batch} images"),
        times=Table(head, [_times_row(name, at) for name, at in times.items()]),
        ratios=_ratios(batch, latency),
    )


def _stability_marked(key: str, times: BatchTimes) -> str:
    return key if times.stable else f"{key} (unstable)"


def _times_row(name: str, times: BatchTimes) -> tuple[str, ...]:
    figures = (times.p50_ms, times.p90_ms, times.p95_ms, times.p99_ms, times.max_ms, times.first_ms)
    return (
        name,
        *(ms_text(value) for value in figures),
        f"{times.images_per_s:.1f}",
        str(len(times.samples_ms)),
    )


def _ratios(batch: int, latency: LatencyResult) -> Chart | None:
    """Draw the ratio of each runner's time to that of the first."""
    baseline = latency.runners[0].key
    rows = []
    for comparison in latency.comparisons:
        if comparison.batch == batch and comparison.first == baseline:
            median, low, high = comparison.ratio.median, comparison.ratio.low, comparison.ratio.high
            label = f"{median:.3f} [{low:.3f}, {high:.3f}]"
            rows.append(Interval(comparison.second, median, low, high, label, hollow=not comparison.stable))
    axis, alt = f"time relative to {baseline}", f"ratios of times at batch {batch}"
    return interval_chart(rows, axis=axis, alt=alt, threshold=1.0, log=True) if rows else None


def _stages(runners: Sequence[RunnerResult], batch: int) -> Table:
    times = {runner.key: runner.at(batch) for runner in runners}
    names = list(dict.fromkeys(name for at in times.values() for name in at.stages))
    copies = {key: at.device.host_to_device for key, at in times.items()}
    copy_ms = {key: ms_text(samples.p50_ms) for key, samples in copies.items() if samples is not None}
    rows = []
    for key, at in times.items():
        stages = [ms_text(at.stages[name].p50_ms) if name in at.stages else "" for name in names]
        rows.append((key, *stages, *([copy_ms.get(key, "")] if copy_ms else [])))
    return Table(("median ms", *names, *(["copy to the GPU"] if copy_ms else [])), rows)


def _energies(runners: Sequence[RunnerResult], batch: int) -> Table | None:
    joules = {runner.key: runner.at(batch).energy.joule_per_image for runner in runners}
    rows = [(key, f"{joule:.3f}") for key, joule in joules.items() if joule is not None]
    return Table(("energy of the GPU", "J per image"), rows) if rows else None


def _starts(runners: Sequence[RunnerResult]) -> Chart:
    seconds = sorted(((runner.key, runner.cold_start.p50_ms / 1000) for runner in runners), key=lambda pair: pair[1])
    return bar_chart(
        [Bar(key, start_s, f"{start_s:.2f} s") for key, start_s in seconds], axis="seconds", alt="cold start"
    )


def _peaks(runners: Sequence[RunnerResult]) -> Chart | None:
    peaks = {runner.key: runner.batches[-1].peak_rss_mb for runner in runners}
    measured = sorted(((key, peak) for key, peak in peaks.items() if peak is not None), key=lambda pair: pair[1])
    bars = [Bar(key, peak, f"{peak:,.0f} MB") for key, peak in measured]
    return bar_chart(bars, axis="peak resident memory, 1e6 bytes", alt="peak memory") if bars else None


def _front(batch: int, latency: LatencyResult) -> FrontView:
    points = [point for point in latency.pareto if point.batch == batch]
    front = sorted((point for point in points if point.on_front), key=lambda point: point.ms_per_image)
    several_engines = len({point.engine for point in points}) > 1

    def mark(point: ParetoPoint) -> Point:
        kind = point.precision + (f" on {point.engine}" if several_engines else "")
        number = front.index(point) + 1 if point in front else None
        return Point(kind, point.ms_per_image, 100 * point.accuracy, number)

    rows = [
        (
            str(number),
            point.runner,
            " + ".join(point.members),
            ms_text(point.ms_per_image),
            percent(point.accuracy),
        )
        for number, point in enumerate(front, start=1)
    ]
    return FrontView(
        chart=pareto_chart(
            [mark(point) for point in points],
            x_axis="milliseconds per image",
            y_axis="accuracy, %",
            alt=f"accuracy against latency at batch {batch}",
        ),
        caption=(
            f"Every subset of every ensemble, {_at_a_time(batch)}, judged on {_evaluated_on(latency.images)}. "
            "Filled, joined and numbered: no other is as accurate and faster."
        ),
        table=Table(("on the front", "runner", "members", "ms per image", "accuracy"), rows, text_columns=3),
    )
