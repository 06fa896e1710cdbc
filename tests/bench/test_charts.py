"""The charts: well-formed, complete, inside their frame, and readable without colour."""

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braintumor.bench.report.charts import Bar, Interval, Spread, bar_chart, interval_chart, spread_chart
from braintumor.bench.report.charts_plane import Bin, Point, confusion_chart, pareto_chart, reliability_chart
from braintumor.bench.report.charts_svg import MARKS, Canvas, Scale, linear, logarithmic

POINTS = [
    Point("a + <b>", "fp32", 10.0, 98.0, True),
    Point("c", "int8", 2.0, 97.0, True),
    Point("d", "fp16", 30.0, 96.0, False),
]
SPREADS = [Spread("x", 1.0, 1.5, 2.0, 90.0, "1 ms"), Spread("y", 2.0, 2.0, 2.0, 2.0, "2 ms")]
CHARTS = {
    "intervals": interval_chart(
        [Interval("a & b", 1.0, 0.9, 1.2, "1.000", hollow=True), Interval("c", 3.0, 2.5, 3.1, "3.000")],
        axis="ratio", alt="ratios", at=1.0, log=True,
    ),
    "bars": bar_chart([Bar("one", 3.0, "3 s"), Bar("two", 0.0, "0 s")], axis="s", alt="starts"),
    "spreads": spread_chart(SPREADS, axis="ms", alt="times"),
    "confusion": confusion_chart(("p", "q"), ((9, 1), (0, 0)), alt="errors"),
    "reliability": reliability_chart([Bin(0.6, 0.0, 9), Bin(1.0, 1.0, 4000)], alt="confidence"),
    "pareto": pareto_chart(POINTS, x_axis="ms", y_axis="%", alt="cost"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_well_formed_and_says_what_it_shows(name: str) -> None:
    root = ET.fromstring(CHARTS[name])  # noqa: S314 - our own text
    assert root.tag == "svg"
    assert root.attrib["aria-label"]


@pytest.mark.parametrize("name", CHARTS)
def test_everything_lies_inside_the_frame(name: str) -> None:
    root = ET.fromstring(CHARTS[name])  # noqa: S314 - our own text
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    places = [(float(one.attrib["x"]), float(one.attrib["y"])) for one in root.iter() if "x" in one.attrib]
    for path in root.iter("path"):
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", path.attrib["d"])]
        places += list(zip(numbers[::2], numbers[1::2], strict=True))
    assert len(places) > 5
    assert all(-0.1 <= x <= width + 0.1 and -0.1 <= y <= height + 0.1 for x, y in places)


def test_kinds_are_told_apart_without_colour() -> None:
    uncoloured = re.sub(r'(stroke|fill)="[^"]*"', "", CHARTS["pareto"])
    assert uncoloured.count("<circle") == 2  # the point and its place in the legend
    shapes = set()
    for shape in MARKS:
        canvas = Canvas(10, 10, shape)
        canvas.mark(5, 5, shape)
        shapes.add(re.sub(r'(stroke|fill|aria-label)="[^"]*"', "", canvas.svg()))
    assert len(shapes) == len(MARKS)


def test_a_count_is_readable_on_its_shade() -> None:
    assert re.search(r'fill="#fff"[^>]*>9<', CHARTS["confusion"])
    assert re.search(r'fill="#1a1d21"[^>]*>1<', CHARTS["confusion"])


@given(st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=20), st.booleans())
def test_a_linear_scale_covers_its_values_with_few_round_ticks(values: list[float], zero: bool) -> None:
    scale = linear(values, 0.0, 100.0, zero=zero)
    assert_covers(scale, values)
    assert 2 <= len(scale.ticks) <= 9


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=20))
def test_a_logarithmic_scale_covers_its_values(values: list[float]) -> None:
    scale = logarithmic(values, 0.0, 100.0)
    assert_covers(scale, values)
    assert 1 <= len(scale.ticks) <= 12


def assert_covers(scale: Scale, values: list[float]) -> None:
    places = [scale.place(value) for value in (*values, *scale.ticks)]
    assert min(places) >= -1e-6
    assert max(places) <= 100 + 1e-6
    assert list(scale.ticks) == sorted(set(scale.ticks))
