"""The charts: well-formed, complete, inside their frame, the same bytes again, and readable without colour."""

import io
import itertools
import re
import sys
from collections.abc import Mapping
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from braintumor.bench.report.chart import Chart, require_drawing
from braintumor.bench.report.charts import (
    Bar,
    Bin,
    Curve,
    Interval,
    Point,
    Spread,
    bar_chart,
    confusion_chart,
    interval_chart,
    pareto_chart,
    reliability_chart,
    spread_chart,
)
from braintumor.errors import UnavailableError

POINTS = [
    Point("fp32", 10.0, 98.0, 2),
    Point("int8", 2.0, 97.0, 1),
    Point("fp16", 30.0, 96.0),
]
SPREADS = [Spread("x", 1.0, 1.5, 2.0, 90.0, "1 ms"), Spread("y", 2.0, 2.0, 2.0, 2.0, "2 ms")]
LONG = "EfficientNetV2M + DenseNet121 + InceptionResNetV2 + EfficientNetV2S on onnxruntime-cpu"


@pytest.fixture(scope="module")
def charts() -> Mapping[str, Chart]:
    return {
        "intervals": interval_chart(
            [Interval("a & b $x$", 1.0, 0.9, 1.2, "1", hollow=True), Interval(LONG, 3.0, 2.5, 3.1, "3", bound=2.6)],
            axis="ratio", alt="ratios", threshold=1.0, log=True,
        ),
        "one": interval_chart([Interval("数", 1.0, 1.0, 1.0, "1")], axis="ratio", alt="a <single> one"),
        "bars": bar_chart([Bar("one", 3.0, "3 s"), Bar("two", 0.0, "0 s")], axis="s", alt="starts"),
        "nothing": bar_chart([Bar("one", 0.0, "0 s")], axis="s", alt="no start"),
        "spreads": spread_chart(SPREADS, axis="ms", alt="times"),
        "confusion": confusion_chart(("p", "q"), {"": ((9, 1), (0, 0)), "again": ((9, 1), (0, 0))}, alt="errors"),
        "reliability": reliability_chart(
            [Curve([Bin(0.6, 0.0, 9), Bin(1.0, 1.0, 4000)], "as trained"), Curve([Bin(0.5, 0.0, 9)], "tempered")],
            alt="confidence",
        ),
        "pareto": pareto_chart(POINTS, x_axis="ms", y_axis="%", alt="cost"),
    }  # fmt: skip


@pytest.fixture(scope="module")
def svgs(charts: Mapping[str, Chart]) -> Mapping[str, ET.Element]:
    return {name: ET.fromstring(chart.svg()) for name, chart in charts.items()}  # noqa: S314 - our own text


def texts(root: ET.Element) -> list[str]:
    return [element.text or "" for element in root.iter("text")]


def test_svg_is_an_image_with_a_name_and_needs_nothing_from_elsewhere(charts: Mapping[str, Chart]) -> None:
    for chart in charts.values():
        document = chart.svg()
        root = ET.fromstring(document)  # noqa: S314 - our own text
        assert (root.tag, root.attrib["role"], root.attrib["aria-label"]) == ("svg", "img", chart.alt)
        assert root[0].tag == "title"
        assert root[0].text == chart.alt
        assert not re.search(r"https?:|<style|<metadata|font-family", document)


def test_svg_of_the_same_chart_is_the_same(charts: Mapping[str, Chart]) -> None:
    again = bar_chart([Bar("one", 3.0, "3 s"), Bar("two", 0.0, "0 s")], axis="s", alt="starts")
    assert charts["bars"].svg() == charts["bars"].svg() == again.svg()


def test_names_within_svgs_are_not_shared_by_two_charts(svgs: Mapping[str, ET.Element]) -> None:
    names = [{element.attrib["id"] for element in root.iter() if "id" in element.attrib} for root in svgs.values()]
    assert all(not first & second for first, second in itertools.combinations(names, 2))


def test_texts_lie_inside_the_frame(svgs: Mapping[str, ET.Element]) -> None:
    for root in svgs.values():
        width, height = float(root.attrib["width"]), float(root.attrib["height"])
        places = 0
        for text in root.iter("text"):
            x, y = (float(text.attrib[name]) for name in ("x", "y"))
            assert 0 <= x <= width
            assert 0 <= y <= height
            if "rotate" in text.attrib.get("transform", ""):
                continue
            # As wide as the widest font of a page would make it.
            size = float(re.findall(r"font-size: ([\d.]+)px", text.attrib["style"])[0])
            length = 0.55 * size * len(text.text or "")
            anchor = re.findall(r"text-anchor: (\w+)", text.attrib["style"])
            left = x - {"middle": 0.5, "end": 1.0}.get(anchor[0] if anchor else "start", 0.0) * length
            assert left >= -8
            assert left + length <= width + 8
            places += 1
        assert places >= 3


def test_names_are_shown_as_they_are_and_long_ones_shortened(svgs: Mapping[str, ET.Element]) -> None:
    assert "a & b $x$" in texts(svgs["intervals"])
    (long,) = [text for text in texts(svgs["intervals"]) if text.startswith("EfficientNetV2M")]
    assert "…" in long
    assert long.endswith("on onnxruntime-cpu")
    assert "数" in texts(svgs["one"])


def test_pareto_chart_tells_kinds_by_shape_and_the_front_by_number(charts: Mapping[str, Chart]) -> None:
    assert {"1", "2", "fp32", "int8", "fp16"} <= set(texts(ET.fromstring(charts["pareto"].svg())))  # noqa: S314
    axes = charts["pareto"].figure.axes[0]
    markers = {line.get_marker() for line in axes.lines if line.get_marker() != "None"}
    assert len(markers) == 3


def test_reliability_chart_draws_small_bins_hollow(charts: Mapping[str, Chart]) -> None:
    lines = [line for line in charts["reliability"].figure.axes[0].lines if len(line.get_xdata()) == 1]
    fills = {(float(line.get_xdata()[0]), str(line.get_markerfacecolor())) for line in lines}
    assert fills == {(0.6, "white"), (1.0, "#0b4f8a"), (0.5, "white")}


def test_confusion_chart_has_readable_counts_on_every_shade(svgs: Mapping[str, ET.Element]) -> None:
    styles = {text.text: text.attrib["style"] for text in svgs["confusion"].iter("text")}
    assert "fill: #ffffff" in styles["9"]
    assert "fill: #1a1d21" in styles["1"]
    assert texts(svgs["confusion"]).count("9") == 2


def test_spread_chart_is_logarithmic_over_a_wide_range(charts: Mapping[str, Chart]) -> None:
    assert charts["spreads"].figure.axes[0].get_xscale() == "log"
    narrow = spread_chart(SPREADS[1:], axis="ms", alt="narrow")
    assert narrow.figure.axes[0].get_xscale() == "linear"


@pytest.mark.parametrize("top", [1.05, 2.5, 8.0, 300.0, 1e6])
def test_logarithmic_charts_have_a_few_round_ticks(top: float) -> None:
    chart = interval_chart([Interval("a", top, 1.0, top, "")], axis="ratio", alt="ratio", log=True)
    axes = chart.figure.axes[0]
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert 2 <= len(ticks) <= 12
    assert all(len(f"{tick:,g}") <= 9 for tick in ticks)


def test_png_has_two_pixels_for_one_of_css_and_shows_the_counts() -> None:
    def png(count: int) -> Image.Image:
        panels = {"40 test images": ((count, 1), (2, 9))}
        data = confusion_chart(("p", "q"), panels, alt="errors").png()
        assert len(data) < 60_000
        return Image.open(io.BytesIO(data))

    pictures = [png(count) for count in (9, 9, 0)]
    assert np.allclose(pictures[0].info["dpi"], 192, atol=0.1)
    same, again, other = (np.asarray(picture.convert("L"), np.int64) for picture in pictures)
    assert np.array_equal(same, again)
    assert np.abs(same - other).max() > 100


def test_require_drawing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UnavailableError, match=r"braintumor\[bench\]"):
        require_drawing()
