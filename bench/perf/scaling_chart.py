"""A chart of time and memory against the number of images."""

from pathlib import Path
from typing import Any

import numpy as np

from braintumor.bench.perf.scaling_result import Point, ScalingResult
from braintumor.bench.report.chart import chart_style, new_figure
from braintumor.files import output_error

__all__ = ["draw"]

_STYLES = ("o", "s", "^", "D")


@chart_style()
def draw(scaling: ScalingResult, path: Path) -> None:
    """Draw two panels, time and memory against the number of images; readable in black and white.

    The line through the times of one number of threads is straight: seconds = start + images / rate. On logarithmic
    axes it is curved where the start matters.

    Raises:
        UnavailableError: matplotlib is not installed.
        OutputError: The chart cannot be written.
    """
    figure = new_figure(900, 380)
    time, memory = figure.subplots(1, 2)
    for index, threads in enumerate(scaling.threads):
        points = scaling.of_threads(threads)
        images = [point.images for point in points]
        mark = {"marker": _STYLES[index % len(_STYLES)], "color": f"C{index}"}
        label = f"{threads} thread" + ("s" if threads > 1 else "")
        time.plot(
            images,
            [point.wall_s for point in points],
            linestyle="",
            **mark,
            label=_line_label(scaling, threads, label),
        )
        _draw_line(time, scaling, points, f"C{index}")
        memory.plot(images, [point.peak_rss_mb for point in points], **mark, label=label)
    time.set(xscale="log", yscale="log", xlabel="images", ylabel="seconds, start-up included", title="Time")
    memory.set(xscale="log", xlabel="images", ylabel="peak memory, MB", title="Memory")
    memory.set_ylim(bottom=0, top=1.25 * max(point.peak_rss_mb for point in scaling.points))
    for axes in (time, memory):
        axes.set_xticks(sorted({point.images for point in scaling.points}))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.set_minor_formatter("")
        axes.legend()
    time.yaxis.set_major_formatter("{x:,g}")
    time.yaxis.set_minor_formatter("")
    figure.suptitle(f"bt-infer with {scaling.bundle} on {_engines(scaling)}, a process a point")
    try:
        figure.savefig(path, dpi=144)
    except OSError as error:
        raise output_error(path, error) from error


def _line_label(scaling: ScalingResult, threads: int, label: str) -> str:
    line = scaling.lines.get(str(threads))
    return label if line is None else f"{label}: {line.start_s:.1f} s, then {line.images_per_s:.3g} images/s"


def _draw_line(axes: Any, scaling: ScalingResult, points: tuple[Point, ...], colour: str) -> None:
    line = scaling.lines.get(str(points[0].threads))
    if line is None:
        return
    images = np.geomspace(points[0].images, points[-1].images, 100)
    axes.plot(images, line.start_s + images / line.images_per_s, color=colour, linewidth=1)


def _engines(scaling: ScalingResult) -> str:
    return ", ".join(dict.fromkeys(point.ran_on for point in scaling.points))
