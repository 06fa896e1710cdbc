"""The latency part of a report: from the JSON of `bt-bench latency` to tables and charts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

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


def latency_sections(told: Mapping[str, Any]) -> Iterator[Markup]:
    """The chapters on speed.

    Args:
        told: JSON of schema `braintumor.latency/1`.
    """
    contenders = told["contenders"]
    images = told["images"]
    yield section(
        "Speed",
        [
            paragraph(f"{_NOTE} {images['count']} images ({images['source']}).{_cut(told)}"),
            _side_by_side(told),
            *(part for batch in _batches(contenders) for part in _batch(batch, told)),
            *_parts(contenders),
        ],
    )
    yield section("Start and memory", _start_and_memory(contenders))
    yield section("Accuracy against latency", _pareto(told["pareto"], images))


def _cut(told: Mapping[str, Any]) -> str:
    return f" The run was cut short {told['unfinished']}." if told["unfinished"] else ""


def _decided_on(images: Mapping[str, Any]) -> str:
    """On which images the accuracies rest."""
    if images["decided"] == images["count"]:
        return f"the {images['count']} images that were timed"
    return f"all {images['decided']} images"


def _side_by_side(told: Mapping[str, Any]) -> Markup:
    """What each decides and how fast it is, on the same images."""
    first, last = (_batches(told["contenders"])[place] for place in (0, -1))
    speeds = (f"ms, batch {first}", f"images/s, batch {last}", "start s", "peak MB")
    rows = []
    for one in told["contenders"]:
        decided, peak = one["decisions"], _at(one, last)["peak_rss_mb"]
        rows.append(
            (
                one["key"],
                *_decided(decided),
                ms_text(_at(one, first)["p50_ms"]),
                f"{_at(one, last)['images_per_s']:.1f}",
                f"{one['cold_start']['p50_ms'] / 1000:.2f}",
                "" if peak is None else f"{peak:,.0f}",
            )
        )
    first_key, on = told["contenders"][0]["key"], _decided_on(told["images"])
    caption = f"Right, flips and max |Δp|: on {on}; flips and max |Δp| are from {first_key}."
    return table(("contender", "right", "flips", "max |Δp|", *speeds), rows, caption=caption)


def _decided(decided: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if decided is None:
        return ("", "", "")
    interval = f" {interval_text(decided['interval'])}" if decided.get("interval") else ""
    return (
        percent(decided["accuracy"]) + interval,
        f"{decided['flips']} of {decided['images']}",
        f"{decided['max_abs_difference']:.1g}",
    )


def _at_a_time(batch: int) -> str:
    return "one image at a time" if batch == 1 else f"{batch} images at a time"


def _batches(contenders: Sequence[Mapping[str, Any]]) -> list[int]:
    return list(dict.fromkeys(times["batch"] for one in contenders for times in one["batches"]))


def _at(one: Mapping[str, Any], batch: int) -> Mapping[str, Any]:
    return next(times for times in one["batches"] if times["batch"] == batch)


def _batch(batch: int, told: Mapping[str, Any]) -> Iterator[Markup]:
    contenders = sorted(told["contenders"], key=lambda one: _at(one, batch)["p50_ms"])
    found = [(one, _at(one, batch)) for one in contenders]
    yield Markup(f"<h3>{_at_a_time(batch).capitalize()}</h3>")
    spreads = [
        Spread(
            one["key"] + ("" if times["stable"] else _UNSTABLE),
            times["p50_ms"],
            times["p95_ms"],
            times["p99_ms"],
            times["max_ms"],
            f"{ms_text(times['p50_ms'])} ms",
        )
        for one, times in found
    ]
    yield figure(
        spread_chart(spreads, axis="milliseconds a call", alt=f"times of calls of {batch} images"),
        "Circle: median. Thick line: to the 95th percentile. Tick: 99th. Dot: the slowest call.",
    )
    head = ("contender", "p50 ms", "p90", "p95", "p99", "max", "first call", "images/s", "calls")
    yield table(head, [_row(one, times) for one, times in found])
    against = _against(batch, told)
    if against:
        yield figure(
            interval_chart(
                against, axis=f"time beside that of {told['contenders'][0]['key']}", at=1.0, log=True,
                alt=f"ratios of times at batch {batch}",
            ),
            "Ratio of the two times pair by pair, median and 95 % interval. Right of the line is slower. "
            "Hollow: one of the two was unstable.",
        )  # fmt: skip


def _row(one: Mapping[str, Any], times: Mapping[str, Any]) -> tuple[str, ...]:
    figures = (times[name] for name in ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms", "first_ms"))
    return (
        one["key"] + ("" if times["stable"] else _UNSTABLE),
        *(ms_text(value) for value in figures),
        f"{times['images_per_s']:.1f}",
        str(len(times["samples_ms"])),
    )


def _against(batch: int, told: Mapping[str, Any]) -> list[Interval]:
    """Everyone beside the first."""
    first = told["contenders"][0]["key"]
    return [
        Interval(
            one["second"],
            one["ratio"]["median"],
            one["ratio"]["low"],
            one["ratio"]["high"],
            f"{one['ratio']['median']:.3f} [{one['ratio']['low']:.3f}, {one['ratio']['high']:.3f}]",
            hollow=not one["stable"],
        )
        for one in told["comparisons"]
        if one["batch"] == batch and one["first"] == first
    ]


def _parts(contenders: Sequence[Mapping[str, Any]]) -> Iterator[Markup]:
    """Where the time goes, at the largest batch."""
    batch = max(_batches(contenders))
    names = list(dict.fromkeys(name for one in contenders for name in _at(one, batch)["stages"]))
    copied = {
        one["key"]: times["p50_ms"]
        for one in contenders
        if (times := _at(one, batch)["device"]["host_to_device"]) is not None
    }
    rows = []
    for one in contenders:
        stages = _at(one, batch)["stages"]
        row = [ms_text(stages[name]["p50_ms"]) if name in stages else "" for name in names]
        if copied:
            row.append(ms_text(copied[one["key"]]) if one["key"] in copied else "")
        rows.append((one["key"], *row))
    yield Markup(f"<h3>Where the time goes, {_at_a_time(batch)}</h3>")
    yield table(("median ms", *names, *(["copy to the GPU"] if copied else [])), rows)
    energies = [
        (one["key"], f"{energy['joule_per_image']:.3f}")
        for one in contenders
        if (energy := _at(one, batch)["energy"])["joule_per_image"] is not None
    ]
    if energies:
        yield table(("energy of the GPU", "J an image"), energies)


def _start_and_memory(contenders: Sequence[Mapping[str, Any]]) -> Iterator[Markup]:
    starts = sorted(contenders, key=lambda one: one["cold_start"]["p50_ms"])
    bars = [
        Bar(one["key"], one["cold_start"]["p50_ms"] / 1000, f"{one['cold_start']['p50_ms'] / 1000:.2f} s")
        for one in starts
    ]
    yield figure(
        bar_chart(bars, axis="seconds", alt="cold start"),
        "From the start of a process to its first answer, to one image; caches on the disk were filled before.",
    )
    last = [(one, one["batches"][-1]) for one in contenders]
    known = sorted(
        ((one, times) for one, times in last if times["peak_rss_mb"] is not None), key=lambda x: x[1]["peak_rss_mb"]
    )
    if known:
        bars = [Bar(one["key"], times["peak_rss_mb"], f"{times['peak_rss_mb']:,.0f} MB") for one, times in known]
        yield figure(
            bar_chart(bars, axis="peak resident memory, 1e6 bytes", alt="peak memory"),
            f"Peak of each process, up to batch {known[0][1]['batch']}.",
        )


def _pareto(points: Sequence[Mapping[str, Any]], images: Mapping[str, Any]) -> Iterator[Markup]:
    for batch in dict.fromkeys(point["batch"] for point in points):
        found = [point for point in points if point["batch"] == batch]
        several = len({point["engine"] for point in found}) > 1
        marks = [
            Point(
                " + ".join(point["members"]),
                point["precision"] + (f" on {point['engine']}" if several else ""),
                point["ms_per_image"],
                100 * point["accuracy"],
                point["on_front"],
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
        front = sorted((point for point in found if point["on_front"]), key=lambda point: point["ms_per_image"])
        yield table(
            ("on the front", "members", "ms an image", "accuracy"),
            [
                (
                    point["contender"],
                    " + ".join(point["members"]),
                    ms_text(point["ms_per_image"]),
                    percent(point["accuracy"]),
                )
                for point in front
            ],
            text_columns=2,
        )
