"""Charts as SVG text: scales, ticks and marks. No colour carries a meaning that no shape carries."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from braintumor.bench.report.html import Markup, markup

__all__ = ["ACCENT", "INK", "LINE", "MARKS", "SOFT", "Canvas", "Scale", "linear", "logarithmic", "text_px"]

INK: Final = "#1a1d21"
SOFT: Final = "#5b636d"
LINE: Final = "#d5d9de"
ACCENT: Final = "#0b4f8a"

# How far a logarithmic scale reaches, and where its decades have ticks.
_STEPS: Final = ((10.0, (1, 1.5, 2, 3, 4, 5, 7)), (1000.0, (1, 2, 5)), (math.inf, (1,)))

# An average character of the page's font, in parts of its size.
_CHARACTER: Final = 0.54

MARKS: Final = ("circle", "square", "triangle", "diamond", "cross", "plus")
"""Shapes of marks, most different ones first."""


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to pixels.

    Attributes:
        place: Value → pixels.
        ticks: Values that get a line and a label.
        low: The smallest value that is shown.
        high: The largest.
    """

    place: Callable[[float], float]
    ticks: tuple[float, ...]
    low: float
    high: float


def linear(values: Sequence[float], start_px: float, end_px: float, *, zero: bool = False, ticks: int = 5) -> Scale:
    """Even steps over all values, with round ticks.

    Args:
        values: What must be shown.
        start_px: Where the smallest lies.
        end_px: Where the largest lies.
        zero: Begin at 0, as bars must.
        ticks: About so many.
    """
    low, high = min(values), max(values)
    low = min(low, 0.0) if zero else low
    if high <= low:
        high = low + (abs(low) * 0.1 or 1.0)
    step = _round_step((high - low) / ticks)
    first = math.floor(low / step + 1e-9) * step
    count = math.ceil((high - first) / step - 1e-9)
    last = first + count * step
    found = tuple(round(first + place * step, 12) for place in range(count + 1))
    return Scale(lambda value: start_px + (value - first) / (last - first) * (end_px - start_px), found, first, last)


def logarithmic(values: Sequence[float], start_px: float, end_px: float) -> Scale:
    """Even ratios over all values, all above 0, with ticks at round values of each decade."""
    low, high = min(values) / 1.15, max(values) * 1.15
    bottom, top = math.log(low), math.log(high)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = next(steps for reach, steps in _STEPS if high / low < reach)
    found = tuple(factor * 10.0**decade for decade in decades for factor in steps)
    if high / low < 3:  # noqa: PLR2004 - 1, 2, 5 leaves too few
        found = linear((low, high), 0, 1, ticks=4).ticks
    inside = tuple(value for value in found if low <= value <= high)
    return Scale(
        lambda value: start_px + (math.log(value) - bottom) / (top - bottom) * (end_px - start_px), inside, low, high
    )


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * (1 - 1e-9))


@dataclass(slots=True)
class Canvas:
    """A drawing that grows mark by mark.

    Attributes:
        width: In pixels.
        height: In pixels.
        alt: What it shows, for those who do not see it.
    """

    width: float
    height: float
    alt: str
    _parts: list[str] = field(default_factory=list)

    def line(
        self, x1: float, y1: float, x2: float, y2: float, *, colour: str = LINE, width: float = 1, dash: str = ""
    ) -> None:
        """A straight line."""
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self._parts.append(
            f'<path d="M{_n(x1)} {_n(y1)}L{_n(x2)} {_n(y2)}" stroke="{colour}" stroke-width="{_n(width)}"{dashed}/>'
        )

    def path(
        self, points: Sequence[tuple[float, float]], *, colour: str = INK, width: float = 1.2, dash: str = ""
    ) -> None:
        """Lines from point to point."""
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        told = "L".join(f"{_n(x)} {_n(y)}" for x, y in points)
        self._parts.append(f'<path d="M{told}" fill="none" stroke="{colour}" stroke-width="{_n(width)}"{dashed}/>')

    def box(self, x: float, y: float, width: float, height: float, *, fill: str, stroke: str = "none") -> None:
        """A filled rectangle."""
        self._parts.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(max(width, 0.5))}" height="{_n(height)}" fill="{fill}" '
            f'stroke="{stroke}"/>'
        )

    def text(
        self, x: float, y: float, told: str, *, anchor: Literal["start", "middle", "end"] = "start", size: float = 12,
        colour: str = INK, bold: bool = False,
    ) -> None:  # fmt: skip
        """Words; y is their base line."""
        weight = ' font-weight="600"' if bold else ""
        self._parts.append(
            f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}" font-size="{_n(size)}" fill="{colour}"{weight}>'
            f"{markup(told)}</text>"
        )

    def mark(
        self, x: float, y: float, shape: str, *, size: float = 4.5, filled: bool = True, colour: str = ACCENT
    ) -> None:
        """A point.

        Args:
            x: Its middle.
            y: Its middle.
            shape: One of `MARKS`.
            size: Half its width.
            filled: Or hollow.
            colour: Of its outline, and of its inside when it is filled.
        """
        fill = colour if filled else "#fff"
        if shape == "circle":
            self._parts.append(
                f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(size)}" fill="{fill}" stroke="{colour}" '
                f'stroke-width="1.6"/>'
            )
            return
        told = "".join(f"{step}{_n(x + dx * size)} {_n(y + dy * size)}" for step, dx, dy in _SHAPES[shape])
        end = "" if shape in {"cross", "plus"} else "Z"
        self._parts.append(f'<path d="{told}{end}" fill="{fill}" stroke="{colour}" stroke-width="1.6"/>')

    def svg(self) -> Markup:
        """The drawing."""
        size = f'width="{_n(self.width)}" height="{_n(self.height)}" viewBox="0 0 {_n(self.width)} {_n(self.height)}"'
        return Markup(
            f'<svg {size} role="img" aria-label="{markup(self.alt)}" font-family="inherit" '
            f'font-variant-numeric="tabular-nums" fill="none">{"".join(self._parts)}</svg>'
        )


def text_px(told: str, size: float = 12) -> float:
    """About how wide a text is."""
    return len(told) * size * _CHARACTER


_SHAPES: Final = {
    "square": (("M", -0.9, -0.9), ("L", 0.9, -0.9), ("L", 0.9, 0.9), ("L", -0.9, 0.9)),
    "triangle": (("M", 0.0, -1.15), ("L", 1.1, 0.85), ("L", -1.1, 0.85)),
    "diamond": (("M", 0.0, -1.25), ("L", 1.25, 0.0), ("L", 0.0, 1.25), ("L", -1.25, 0.0)),
    "cross": (("M", -0.9, -0.9), ("L", 0.9, 0.9), ("M", -0.9, 0.9), ("L", 0.9, -0.9)),
    "plus": (("M", 0.0, -1.1), ("L", 0.0, 1.1), ("M", -1.1, 0.0), ("L", 1.1, 0.0)),
}


def _n(value: float) -> str:
    """A coordinate, no longer than it needs to be."""
    return f"{value:.1f}".removesuffix(".0")
