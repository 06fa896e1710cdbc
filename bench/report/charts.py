"""Charts of plain figures, each a `Chart`. Nothing is told by colour alone; shapes and fills tell it too.

>>> chart = bar_chart([Bar("fp32", 1.9, "1.90 s")], axis="seconds", alt="cold start")
>>> chart.svg()[:4]
'<svg'
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from braintumor.bench.report.chart import ACCENT, CONTRAST, INK, SOFT, WASH, Chart, chart_style, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Bar",
    "Bin",
    "Curve",
    "Interval",
    "Point",
    "Spread",
    "bar_chart",
    "confusion_chart",
    "draw_confusion",
    "draw_reliability",
    "interval_chart",
    "pareto_chart",
    "reliability_chart",
    "spread_chart",
]

_WIDTH: Final = 760
_ROW: Final = 26
_AXIS: Final = 64
_LONGEST_NAME: Final = 44
_MARKERS: Final = ("o", "s", "^", "D", "X", "P")
"""Most different ones first."""
_MIN_BIN_COUNT: Final = 10
"""A bin of fewer images is drawn hollow: its accuracy says little."""
_WIDE_RANGE: Final = 12
"""Ratio of the largest to the smallest value above which a linear scale hides the small ones."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A row of an interval chart.

    Attributes:
        name: At the left.
        value: The estimate.
        low: Lower end of its interval.
        high: Upper end.
        label: The figures as text, at the right.
        hollow: Draw the mark hollow: the value is not reliable.
        bound: A value that gets a triangle, such as a one-sided lower end.
    """

    name: str
    value: float
    low: float
    high: float
    label: str
    hollow: bool = False
    bound: float | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of a bar chart: name at the left, value as a bar, label at the right."""

    name: str
    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Spread:
    """A row of a chart of times, with the label at the right."""

    name: str
    median: float
    p95: float
    p99: float
    largest: float
    label: str


@dataclass(frozen=True, slots=True)
class Bin:
    """A bin of a reliability curve: mean confidence and accuracy, both 0..1, of `count` images, at least one."""

    confidence: float
    accuracy: float
    count: int


@dataclass(frozen=True, slots=True)
class Curve:
    """A reliability curve, and its name in a legend."""

    bins: Sequence[Bin]
    name: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a Pareto chart.

    Attributes:
        kind: Decides its shape, such as "int8".
        cost: On the horizontal axis, logarithmic; above 0.
        value: On the vertical axis.
        number: Written next to a point of the front, from 1; None for the others.
    """

    kind: str
    cost: float
    value: float
    number: int | None = None


@chart_style()
def interval_chart(
    rows: Sequence[Interval], *, axis: str, alt: str, threshold: float | None = None, log: bool = False
) -> Chart:
    """Draw values with their intervals, one below the other.

    Args:
        rows: From top to bottom; at least one.
        axis: Quantity and unit.
        alt: For those who do not see it.
        threshold: A value that gets a dashed line.
        log: Even ratios instead of even steps.
    """
    figure, axes = _row_figure(rows)
    if threshold is not None:
        axes.axvline(threshold, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    for y, row in enumerate(rows):
        axes.plot([row.low, row.high], [y, y], color=INK, linewidth=1.6, marker="|", markersize=8)
        axes.plot(row.value, y, "o", color=ACCENT, markerfacecolor="white" if row.hollow else ACCENT)
        if row.bound is not None:
            axes.plot(row.bound, y, "^", color=INK, markersize=7)
    shown = [value for row in rows for value in (row.low, row.high, row.value)]
    _scale(axes, [*shown, *([] if threshold is None else [threshold])], axis, log=log)
    return Chart(figure, alt)


@chart_style()
def bar_chart(rows: Sequence[Bar], *, axis: str, alt: str) -> Chart:
    """Draw bars from 0, one below the other."""
    figure, axes = _row_figure(rows)
    axes.barh(range(len(rows)), [row.value for row in rows], height=0.54, color=ACCENT)
    axes.set_xlim(left=0)
    _scale(axes, [row.value for row in rows], axis)
    return Chart(figure, alt)


@chart_style()
def spread_chart(rows: Sequence[Spread], *, axis: str, alt: str) -> Chart:
    """Draw times: a mark at the median, a thick line to p95, a tick at p99, a dot at the largest."""
    figure, axes = _row_figure(rows)
    for y, row in enumerate(rows):
        axes.plot([row.p95, row.largest], [y, y], color=SOFT, linewidth=1)
        axes.plot([row.median, row.p95], [y, y], color=ACCENT, linewidth=5, solid_capstyle="butt")
        axes.plot(row.p99, y, "|", color=INK, markersize=10)
        axes.plot(row.largest, y, "o", color=SOFT, markersize=4)
        axes.plot(row.median, y, "o", color=ACCENT)
    values = [value for row in rows for value in (row.median, row.largest)]
    log = max(values) > _WIDE_RANGE * min(values)
    _scale(axes, values, axis + (", logarithmic" if log else ""), log=log)
    if not log:
        axes.set_xlim(left=0)
    return Chart(figure, alt)


@chart_style()
def confusion_chart(classes: Sequence[str], panels: Mapping[str, Sequence[Sequence[int]]], *, alt: str) -> Chart:
    """Draw counts by truth (row) and answer (column), a panel for each title; an empty title is left out."""
    cell = max(62.0, max(map(_text_width, classes)) + 14)
    height = 46 * len(classes) + 90
    figure = new_figure((cell * len(classes) + 20) * len(panels) + cell + 30, height)
    for axes, (title, counts) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        draw_confusion(axes, classes, counts)
        axes.set_title(title)
    return Chart(figure, alt)


def draw_confusion(axes: "Axes", classes: Sequence[str], counts: Sequence[Sequence[int]]) -> None:
    """Draw one matrix, shaded by the share of the row, so that small classes read as easily as large ones."""
    from matplotlib.colors import LinearSegmentedColormap

    # By the root, so that a single error is seen.
    shares = [[(count / max(sum(row), 1)) ** 0.5 for count in row] for row in counts]
    shades = LinearSegmentedColormap.from_list("shades", [WASH, ACCENT])
    axes.pcolormesh(shares, cmap=shades, vmin=0, vmax=1, edgecolors="white", linewidth=2)
    for row, line in enumerate(counts):
        for column, count in enumerate(line):
            dark = shares[row][column] > 0.67  # noqa: PLR2004 - where white reads better than ink
            colour = "white" if dark else INK if count else SOFT
            weight = "bold" if row == column else "normal"
            axes.text(
                column + 0.5, row + 0.5, str(count), ha="center", va="center", color=colour, weight=weight, size=14
            )
    middles = [place + 0.5 for place in range(len(classes))]
    axes.set_xticks(middles, classes, fontsize=11)
    axes.set_yticks(middles, classes, fontsize=11)
    axes.invert_yaxis()
    axes.set(xlabel="answer", ylabel="truth")
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)


@chart_style()
def reliability_chart(curves: Sequence[Curve], *, alt: str) -> Chart:
    """Draw accuracy over confidence; on the diagonal, confidence means what it says."""
    figure = new_figure(280, 280)
    draw_reliability(figure.subplots(), curves)
    return Chart(figure, alt)


def draw_reliability(axes: "Axes", curves: Sequence[Curve]) -> None:
    """Draw one or two curves; the larger a mark, the more images, hollow under 10. A legend is the caller's."""
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
    for curve, colour, marker in zip(curves, (ACCENT, CONTRAST), ("o", "D"), strict=False):
        if curve.name:
            axes.plot([], [], marker, color=colour, markersize=7, label=curve.name)
        # The small ones last: a large one would hide them.
        for item in sorted(curve.bins, key=lambda item: -item.count):
            fill = colour if item.count >= _MIN_BIN_COUNT else "white"
            size = 5 + 0.3 * item.count**0.5
            axes.plot(item.confidence, item.accuracy, marker, color=colour, markerfacecolor=fill, markersize=size)
    ticks = (0, 0.25, 0.5, 0.75, 1)
    axes.set(xlim=(-0.04, 1.08), ylim=(-0.04, 1.08), xlabel="confidence", ylabel="accuracy", xticks=ticks)
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=11, color=SOFT)
    axes.xaxis.set_major_formatter("{x:g}")


@chart_style()
def pareto_chart(points: Sequence[Point], *, x_axis: str, y_axis: str, alt: str) -> Chart:
    """Draw cost against value; a shape a kind, filled, numbered and joined on the front."""
    figure = new_figure(_WIDTH, 420)
    axes = figure.subplots()
    front = sorted((point for point in points if point.number is not None), key=lambda point: point.cost)
    # A better value costs what its point costs, and not less: the front is a stair.
    costs, values = [point.cost for point in front], [point.value for point in front]
    axes.step(costs, values, where="post", color=SOFT, linewidth=1.2, linestyle=(0, (5, 3)))
    for kind, marker in zip(dict.fromkeys(point.kind for point in points), _MARKERS * len(points), strict=False):
        axes.plot([], [], marker, color=INK, label=kind)
        for point in (point for point in points if point.kind == kind):
            if point.number is None:
                axes.plot(point.cost, point.value, marker, color=SOFT, markerfacecolor="white")
            else:
                axes.plot(point.cost, point.value, marker, color=ACCENT, zorder=3)
    for point in front:
        axes.annotate(
            str(point.number), (point.cost, point.value), (8, -8), textcoords="offset points", va="top", zorder=4
        )
    _scale(axes, [point.cost for point in points], f"{x_axis}, logarithmic", log=True)
    axes.grid(visible=False, axis="x")
    axes.set_ylabel(y_axis)
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.tick_params(axis="y", labelsize=11, labelcolor=SOFT)
    axes.margins(x=0.05, y=0.1)
    figure.legend(loc="outside upper right", ncols=3)
    return Chart(figure, alt)


def _row_figure(rows: Sequence[Interval | Bar | Spread]) -> tuple["Figure", "Axes"]:
    """Make a figure with a line for each row, its name at the left and its label at the right."""
    figure = new_figure(_WIDTH, _ROW * len(rows) + _AXIS)
    axes = figure.subplots()
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [_shortened(row.name) for row in rows])
    labels = axes.secondary_yaxis("right")
    labels.set_yticks(range(len(rows)), [row.label for row in rows])
    labels.spines["right"].set_visible(False)
    axes.grid(visible=False, axis="y")
    return figure, axes


def _shortened(name: str) -> str:
    """Cut a long name in its middle: beginning and end tell runners apart."""
    half = _LONGEST_NAME // 2
    return name if len(name) <= _LONGEST_NAME else f"{name[:half]}…{name[-half:]}"


def _scale(axes: "Axes", values: Sequence[float], label: str, *, log: bool = False) -> None:
    """Give the horizontal axis its label, and round ticks that suit its range."""
    from matplotlib import ticker

    axes.set_xlabel(label)
    axes.spines["bottom"].set_visible(False)
    if log:
        ratio = max(values) / min(values)
        steps = (1, 1.5, 2, 3, 4, 5, 7) if ratio < 10 else (1, 2, 5) if ratio < 1000 else (1,)  # noqa: PLR2004
        few = ratio < 3  # noqa: PLR2004 - where the steps of a decade leave too few ticks
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(ticker.MaxNLocator(4) if few else ticker.LogLocator(subs=steps, numticks=12))
        axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.xaxis.set_major_formatter("{x:,g}")


def _text_width(text: str) -> float:
    return 0.62 * 11 * len(text)
