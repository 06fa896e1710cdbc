"""Charts that are read row by row: intervals, bars, times. From plain figures to SVG, readable in grey."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from braintumor.bench.report.charts_svg import ACCENT, INK, SOFT, Canvas, Scale, linear, logarithmic, text_px
from braintumor.bench.report.html import Markup

__all__ = ["Bar", "Interval", "Spread", "bar_chart", "interval_chart", "spread_chart"]

_WIDTH: Final = 760.0
_ROW: Final = 26.0
_GAP: Final = 12.0
_AXIS: Final = 40.0
# From which ratio of the largest to the smallest value on a linear scale hides the small ones.
_WIDE_RANGE: Final = 12.0


@dataclass(frozen=True, slots=True)
class Interval:
    """A row of an interval chart.

    Attributes:
        name: What it is of.
        value: The figure.
        low: Lower end of its interval.
        high: Upper end.
        told: The figure as text, at the right.
        hollow: Draw it hollow: it is not to be relied on.
        decides: A value on the line that gets a triangle; None for none.
    """

    name: str
    value: float
    low: float
    high: float
    told: str
    hollow: bool = False
    decides: float | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of a bar chart."""

    name: str
    value: float
    told: str


@dataclass(frozen=True, slots=True)
class Spread:
    """A row of a chart of times.

    Attributes:
        name: What it is of.
        median: p50.
        p95: Where the line ends.
        p99: Has a tick.
        largest: Has a dot.
        told: The figures as text.
    """

    name: str
    median: float
    p95: float
    p99: float
    largest: float
    told: str


def interval_chart(
    rows: Sequence[Interval], *, axis: str, alt: str, at: float | None = None, log: bool = False
) -> Markup:
    """Values with their intervals, one below the other.

    Args:
        rows: From top to bottom; at least one.
        axis: What is shown, with its unit.
        alt: For those who do not see it.
        at: A value that gets a line of its own.
        log: Even ratios instead of even steps.
    """
    values = [value for row in rows for value in (row.low, row.high, row.value)] + ([] if at is None else [at])
    canvas, left, right = _rows_canvas([row.name for row in rows], [row.told for row in rows], alt)
    scale = (logarithmic if log else linear)(values, left, right)
    _grid(canvas, scale, axis, _GAP, _GAP + _ROW * len(rows))
    if at is not None:
        canvas.line(scale.place(at), _GAP - 4, scale.place(at), _GAP + _ROW * len(rows), colour=INK, dash="4 3")
    for place, row in enumerate(rows):
        y = _middle(place)
        canvas.line(scale.place(row.low), y, scale.place(row.high), y, colour=INK, width=1.6)
        for end in (row.low, row.high):
            canvas.line(scale.place(end), y - 4, scale.place(end), y + 4, colour=INK, width=1.6)
        canvas.mark(scale.place(row.value), y, "circle", filled=not row.hollow)
        if row.decides is not None:
            canvas.mark(scale.place(row.decides), y, "triangle", colour=INK)
        _labels(canvas, row.name, row.told, y, left, right)
    return canvas.svg()


def bar_chart(rows: Sequence[Bar], *, axis: str, alt: str) -> Markup:
    """Bars from 0, one below the other."""
    canvas, left, right = _rows_canvas([row.name for row in rows], [row.told for row in rows], alt)
    scale = linear([row.value for row in rows], left, right, zero=True)
    _grid(canvas, scale, axis, _GAP, _GAP + _ROW * len(rows))
    for place, row in enumerate(rows):
        y = _middle(place)
        canvas.box(left, y - 7, scale.place(row.value) - left, 14, fill=ACCENT)
        _labels(canvas, row.name, row.told, y, left, right)
    return canvas.svg()


def spread_chart(rows: Sequence[Spread], *, axis: str, alt: str) -> Markup:
    """Times: a mark at the median, a thick line to p95, a tick at p99, a dot at the largest."""
    canvas, left, right = _rows_canvas([row.name for row in rows], [row.told for row in rows], alt)
    values = [value for row in rows for value in (row.median, row.largest)]
    wide = max(values) > _WIDE_RANGE * min(values)
    scale = logarithmic(values, left, right) if wide else linear(values, left, right, zero=True)
    _grid(canvas, scale, axis + (", logarithmic" if wide else ""), _GAP, _GAP + _ROW * len(rows))
    for place, row in enumerate(rows):
        y = _middle(place)
        x50, x95, x99, top = (scale.place(value) for value in (row.median, row.p95, row.p99, row.largest))
        canvas.line(x95, y, top, y, colour=SOFT)
        canvas.line(x50, y, x95, y, colour=ACCENT, width=5)
        canvas.line(x99, y - 5, x99, y + 5, colour=INK, width=1.6)
        canvas.mark(top, y, "circle", size=2, colour=SOFT)
        canvas.mark(x50, y, "circle")
        _labels(canvas, row.name, row.told, y, left, right)
    return canvas.svg()


def _rows_canvas(names: Sequence[str], told: Sequence[str], alt: str) -> tuple[Canvas, float, float]:
    """A canvas for rows; where their plot begins and ends."""
    left = min(max(map(text_px, names)) + 14, 0.45 * _WIDTH)
    right = _WIDTH - max(map(text_px, told)) - 18
    return Canvas(_WIDTH, _GAP + _ROW * len(names) + _AXIS, alt), left, right


def _middle(place: int) -> float:
    return _GAP + _ROW * (place + 0.5)


def _labels(canvas: Canvas, name: str, told: str, y: float, left: float, right: float) -> None:
    canvas.text(left - 12, y + 4, name, anchor="end")
    canvas.text(right + 14, y + 4, told)


def _grid(canvas: Canvas, scale: Scale, axis: str, top: float, bottom: float) -> None:
    for tick in scale.ticks:
        x = scale.place(tick)
        canvas.line(x, top, x, bottom)
        canvas.text(x, bottom + 15, f"{tick:,g}", anchor="middle", size=11, colour=SOFT)
    middle = (scale.place(scale.low) + scale.place(scale.high)) / 2
    canvas.text(middle, bottom + 33, axis, anchor="middle", size=11, colour=SOFT)
