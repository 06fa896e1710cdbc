"""Charts of two dimensions: confusion, reliability, Pareto front. From plain figures to SVG, readable in grey."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from typing import Final

from braintumor.bench.report.charts_svg import ACCENT, INK, MARKS, SOFT, Canvas, linear, logarithmic, text_px
from braintumor.bench.report.html import Markup

__all__ = ["Bin", "Point", "confusion_chart", "pareto_chart", "reliability_chart"]

_WIDTH: Final = 760.0
_DARK: Final = 0.45
# A bin of fewer images says little.
_ENOUGH: Final = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """A bin of a reliability chart.

    Attributes:
        confidence: Mean probability of the winner, 0..1.
        accuracy: Share that is right, 0..1.
        count: Images, at least 1.
    """

    confidence: float
    accuracy: float
    count: int


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a Pareto chart.

    Attributes:
        name: Written beside it when it lies on the front.
        kind: Decides its shape, such as "int8".
        x: What it costs; above 0.
        y: What it is worth.
        on_front: No other is better: filled, named and joined.
    """

    name: str
    kind: str
    x: float
    y: float
    on_front: bool


def confusion_chart(classes: Sequence[str], counts: Sequence[Sequence[int]], *, alt: str) -> Markup:
    """Counts by truth (row) and answer (column), shaded by the share of the row."""
    side, left, top = 62.0, 96.0, 44.0
    canvas = Canvas(left + side * len(classes) + 4, top + side * len(classes) + 8, alt)
    canvas.text(left + side * len(classes) / 2, 14, "answer", anchor="middle", colour=SOFT)
    canvas.text(left - 8, top - 12, "truth", anchor="end", colour=SOFT)
    for row, (name, line) in enumerate(zip(classes, counts, strict=True)):
        canvas.text(left + side * (row + 0.5), top - 12, name, anchor="middle", size=11)
        canvas.text(left - 8, top + side * (row + 0.5) + 4, name, anchor="end", size=11)
        for column, count in enumerate(line):
            share = count / max(sum(line), 1)
            x, y = left + side * column, top + side * row
            canvas.box(x, y, side - 2, side - 2, fill=_shade(share))
            canvas.text(
                x + side / 2 - 1, y + side / 2 + 4, str(count), anchor="middle", size=14,
                colour="#fff" if share > _DARK else INK if count else SOFT, bold=row == column,
            )  # fmt: skip
    return canvas.svg()


def reliability_chart(bins: Sequence[Bin], *, alt: str) -> Markup:
    """Accuracy over confidence; on the diagonal, confidence means what it says."""
    left, top, side = 44.0, 10.0, 220.0
    canvas = Canvas(left + side + 14, top + side + 42, alt)
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = left + side * tick, top + side * (1 - tick)
        canvas.line(left, y, left + side, y)
        canvas.text(left - 6, y + 4, f"{tick:,g}", anchor="end", size=11, colour=SOFT)
        canvas.text(x, top + side + 15, f"{tick:,g}", anchor="middle", size=11, colour=SOFT)
    canvas.line(left, top + side, left + side, top, colour=SOFT, dash="4 3")
    canvas.text(left + side / 2, top + side + 33, "confidence", anchor="middle", size=11, colour=SOFT)
    for one in sorted(bins, key=lambda found: -found.count):
        x, y = left + side * one.confidence, top + side * (1 - one.accuracy)
        canvas.mark(x, y, "circle", size=2.5 + 0.25 * one.count**0.5, filled=one.count >= _ENOUGH)
    return canvas.svg()


def pareto_chart(points: Sequence[Point], *, x_axis: str, y_axis: str, alt: str) -> Markup:
    """What it costs against what it is worth; a shape a kind, filled and joined on the front."""
    kinds = list(dict.fromkeys(point.kind for point in points))
    shapes = {kind: MARKS[place % len(MARKS)] for place, kind in enumerate(kinds)}
    left, right, top, bottom = 60.0, _WIDTH - 24, 40.0, 380.0
    canvas = Canvas(_WIDTH, bottom + 46, alt)
    across = logarithmic([point.x for point in points], left, right - 120)
    up = linear([point.y for point in points], bottom - 14, top + 12)
    for tick in up.ticks:
        canvas.line(left, up.place(tick), right, up.place(tick))
        canvas.text(left - 8, up.place(tick) + 4, f"{tick:,g}", anchor="end", colour=SOFT)
    canvas.line(left, bottom, right, bottom, colour=SOFT)
    for tick in across.ticks:
        canvas.line(across.place(tick), bottom, across.place(tick), bottom + 5, colour=SOFT)
        canvas.text(across.place(tick), bottom + 18, f"{tick:,g}", anchor="middle", colour=SOFT)
    canvas.text(right, bottom + 38, f"{x_axis}, logarithmic", anchor="end", colour=SOFT)
    canvas.text(0, 14, y_axis, colour=SOFT)
    _legend(canvas, [(kind, shapes[kind]) for kind in kinds], right)
    front = sorted((point for point in points if point.on_front), key=lambda point: point.x)
    steps = [(across.place(point.x), up.place(point.y)) for point in front]
    # A better accuracy costs the time of its point and not less: the front is a stair.
    corners = [(right_x, y) for (_, y), (right_x, _) in pairwise(steps)]
    joined = [place for pair in zip_longest(steps, corners) for place in pair if place is not None]
    canvas.path(joined, colour=SOFT, dash="5 3")
    for point in sorted(points, key=lambda one: one.on_front):
        x, y = across.place(point.x), up.place(point.y)
        canvas.mark(x, y, shapes[point.kind], filled=point.on_front, colour=ACCENT if point.on_front else SOFT)
    for point, (x, y) in zip(front, steps, strict=True):
        canvas.text(x + 9, y - 8, point.name, size=11)
    return canvas.svg()


def _legend(canvas: Canvas, entries: Sequence[tuple[str, str]], right: float) -> None:
    x = right
    for name, shape in reversed(entries):
        x -= text_px(name)
        canvas.text(x, 14, name)
        canvas.mark(x - 11, 10, shape, colour=INK)
        x -= 34


def _shade(share: float) -> str:
    """From white to the accent; by the root, so that a single error is seen."""
    part = share**0.5
    ends = ((0xF4, 0x0B), (0xF5, 0x4F), (0xF7, 0x8A))
    return "#" + "".join(f"{round(low + part * (high - low)):02x}" for low, high in ends)
