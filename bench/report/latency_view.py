"""The latency part of a report: tables and charts of what `bt-bench latency` measured."""

from collections.abc import Iterator, Sequence
from typing import Final

from braintumor.bench.latency.result import BatchTimes, ContenderResult, Decisions, LatencyResult, TimedSummary
from braintumor.bench.metrics.pareto import ParetoPoint
from braintumor.bench.report.charts import Bar, Interval, Spread, bar_chart, interval_chart, spread_chart
from braintumor.bench.report.charts_plane import Point, pareto_chart
from braintumor.bench.report.format import interval_text, ms_text, percent
from braintumor.bench.report.html import Markup, figure, paragraph, section, table

__all__ = ["latency_sections"]

_UNSTABLE: Final = " (unstable)"
_NOTE: Final = (
    "Whole answers, from the files on the disk to the vote. All contenders live in processes of their own and take "
    "turns in one run; no sample was left out."
)


def latency_sections(latency: LatencyResult) -> Iterator[Markup]:
    """The chapters on speed."""
    contenders, images = latency.contenders, latency.images
    yield section(
        "Speed",
        [
            paragraph(f"{_NOTE} {images.count} images ({images.source}).{_cut(latency)}"),
            _side_by_side(latency),
            *(part for batch in latency.batches for part in _batch(batch, latency)),
            *_parts(contenders, max(latency.batches)),
        ],
    )
    yield section("Start and memory", _start_and_memory(contenders))
    yield section("Accuracy against latency", _pareto(latency.pareto, images))


def _cut(latency: LatencyResult) -> str:
    return f" The run was cut short {latency.unfinished}." if latency.unfinished else ""


def _decided_on(images: TimedSummary) -> str:
    """On which images the accuracies rest."""
    if images.decided == images.count:
        return f"the {images.count} images that were timed"
    return f"all {images.decided} images"


def _side_by_side(latency: LatencyResult) -> Markup:
    """What each decides and how fast it is, on the same images."""
    first, last = latency.batches[0], latency.batches[-1]
    speeds = (f"ms, batch {first}", f"images/s, batch {last}", "start s", "peak MB")
    rows = []
    for one in latency.contenders:
        at_last = one.at(last)
        rows.append(
            (
                one.key,
                *_decided(one.decisions),
                ms_text(one.at(first).p50_ms),
                f"{at_last.images_per_s:.1f}",
                f"{one.cold_start.p50_ms / 1000:.2f}",
                "" if at_last.peak_rss_mb is None else f"{at_last.peak_rss_mb:,.0f}",
            )
        )
    first_key, on = latency.contenders[0].key, _decided_on(latency.images)
    caption = f"Right, flips and max |Δp|: on {on}; flips and max |Δp| are from {first_key}."
    return table(("contender", "right", "flips", "max |Δp|", *speeds), rows, caption=caption)


def _decided(decided: Decisions | None) -> tuple[str, str, str]:
    if decided is None:
        return ("", "", "")
    interval = "" if decided.interval is None else f" {interval_text(decided.interval)}"
    return (
        percent(decided.accuracy) + interval,
        f"{decided.flips} of {decided.images}",
        f"{decided.max_abs_difference:.1g}",
    )


def _at_a_time(batch: int) -> str:
    return "one image at a time" if batch == 1 else f"{batch} images at a time"


def _batch(batch: int, latency: LatencyResult) -> Iterator[Markup]:
    found = sorted(((one.key, one.at(batch)) for one in latency.contenders), key=lambda pair: pair[1].p50_ms)
    yield Markup(f"<h3>{_at_a_time(batch).capitalize()}</h3>")
    spreads = [
        Spread(
            key + ("" if times.stable else _UNSTABLE),
            times.p50_ms,
            times.p95_ms,
            times.p99_ms,
            times.max_ms,
            f"{ms_text(times.p50_ms)} ms",
        )
        for key, times in found
    ]
    yield figure(
        spread_chart(spreads, axis="milliseconds a call", alt=f"times of calls of {batch} images"),
        "Circle: median. Thick line: to the 95th percentile. Tick: 99th. Dot: the slowest call.",
    )
    head = ("contender", "p50 ms", "p90", "p95", "p99", "max", "first call", "images/s", "calls")
    yield table(head, [_row(key, times) for key, times in found])
    against = _against(batch, latency)
    if against:
        yield figure(
            interval_chart(
                against, axis=f"time beside that of {latency.contenders[0].key}", at=1.0, log=True,
                alt=f"ratios of times at batch {batch}",
            ),
            "Ratio of the two times pair by pair, median and 95 % interval. Right of the line is slower. "
            "Hollow: one of the two was unstable.",
        )  # fmt: skip


def _row(key: str, times: BatchTimes) -> tuple[str, ...]:
    figures = (times.p50_ms, times.p90_ms, times.p95_ms, times.p99_ms, times.max_ms, times.first_ms)
    return (
        key + ("" if times.stable else _UNSTABLE),
        *(ms_text(value) for value in figures),
        f"{times.images_per_s:.1f}",
        str(len(times.samples_ms)),
    )


def _against(batch: int, latency: LatencyResult) -> list[Interval]:
    """Everyone beside the first."""
    first = latency.contenders[0].key
    return [
        Interval(
            one.second,
            one.ratio.median,
            one.ratio.low,
            one.ratio.high,
            f"{one.ratio.median:.3f} [{one.ratio.low:.3f}, {one.ratio.high:.3f}]",
            hollow=not one.stable,
        )
        for one in latency.comparisons
        if one.batch == batch and one.first == first
    ]


def _parts(contenders: Sequence[ContenderResult], batch: int) -> Iterator[Markup]:
    """Where the time goes at one batch size."""
    found = {one.key: one.at(batch) for one in contenders}
    names = list(dict.fromkeys(name for times in found.values() for name in times.stages))
    copies = {key: times.device.host_to_device for key, times in found.items()}
    copied = {key: ms_text(samples.p50_ms) for key, samples in copies.items() if samples is not None}
    rows = []
    for key, times in found.items():
        row = [ms_text(times.stages[name].p50_ms) if name in times.stages else "" for name in names]
        rows.append((key, *row, *([copied.get(key, "")] if copied else [])))
    yield Markup(f"<h3>Where the time goes, {_at_a_time(batch)}</h3>")
    yield table(("median ms", *names, *(["copy to the GPU"] if copied else [])), rows)
    energies = [
        (key, f"{times.energy.joule_per_image:.3f}")
        for key, times in found.items()
        if times.energy.joule_per_image is not None
    ]
    if energies:
        yield table(("energy of the GPU", "J an image"), energies)


def _start_and_memory(contenders: Sequence[ContenderResult]) -> Iterator[Markup]:
    starts = sorted(((one.key, one.cold_start.p50_ms / 1000) for one in contenders), key=lambda pair: pair[1])
    bars = [Bar(key, start_s, f"{start_s:.2f} s") for key, start_s in starts]
    yield figure(
        bar_chart(bars, axis="seconds", alt="cold start"),
        "From the start of a process to its first answer, to one image; caches on the disk were filled before.",
    )
    peaks = [(one.key, one.batches[-1].peak_rss_mb) for one in contenders]
    known = sorted(((key, peak) for key, peak in peaks if peak is not None), key=lambda pair: pair[1])
    if known:
        bars = [Bar(key, peak, f"{peak:,.0f} MB") for key, peak in known]
        yield figure(
            bar_chart(bars, axis="peak resident memory, 1e6 bytes", alt="peak memory"),
            f"Peak of each process, up to batch {contenders[0].batches[-1].batch}.",
        )


def _pareto(points: Sequence[ParetoPoint], images: TimedSummary) -> Iterator[Markup]:
    for batch in dict.fromkeys(point.batch for point in points):
        found = [point for point in points if point.batch == batch]
        several = len({point.engine for point in found}) > 1
        marks = [
            Point(
                " + ".join(point.members),
                point.precision + (f" on {point.engine}" if several else ""),
                point.ms_per_image,
                100 * point.accuracy,
                point.on_front,
            )
            for point in found
        ]
        yield figure(
            pareto_chart(
                marks,
                x_axis="milliseconds an image",
                y_axis="accuracy, %",
                alt=f"accuracy against latency at batch {batch}",
            ),
            f"Every subset of every ensemble, {_at_a_time(batch)}, judged on {_decided_on(images)}. "
            "Filled, joined and named: no other is as accurate and faster.",
        )
        front = sorted((point for point in found if point.on_front), key=lambda point: point.ms_per_image)
        yield table(
            ("on the front", "members", "ms an image", "accuracy"),
            [
                (point.contender, " + ".join(point.members), ms_text(point.ms_per_image), percent(point.accuracy))
                for point in front
            ],
            text_columns=2,
        )
