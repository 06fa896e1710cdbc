"""The page that reports are made of."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from braintumor import NOTICE
from braintumor.bench.report.html import Markup, figure, markup, page, paragraph, section, table, thumbnail


def test_what_is_told_is_escaped_everywhere() -> None:
    odd = '<script>alert("&")</script>'
    told = page(odd, odd, [section(odd, [paragraph(odd), table((odd, "n"), [(odd, odd)], caption=odd)])])
    assert "<script" not in told
    assert told.count("&lt;script&gt;") == 9  # the title stands twice


def test_markup_is_not_escaped_twice() -> None:
    assert markup(markup("a & b")) == "a &amp; b"
    assert figure(Markup("<svg></svg>"), "a & b").count("&amp;") == 1


def test_a_page_needs_nothing_from_elsewhere_and_bears_the_notice() -> None:
    told = page("Title", "about", [paragraph("text")])
    assert told.count(NOTICE) == 2
    assert not re.search(r"https?:|//|<link|<script|@import|url\(", told)


def test_an_empty_chapter_leaves_no_heading() -> None:
    assert section("Nothing", []) == ""
    assert section("Nothing", [Markup("")]) == ""


def test_figures_stand_right_and_words_left() -> None:
    told = table(("name", "kind", "ms"), [("a", "b", "1.0")], text_columns=2, strong=0)
    assert "<td>a</td><td>b</td>" in told
    assert '<td class="n">1.0</td>' in told
    assert '<tr class="strong">' in told


def test_a_row_that_does_not_fit_the_head_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        table(("a", "b"), [("1",)])


def test_a_thumbnail_is_the_picture_made_small() -> None:
    ramp = np.tile(np.linspace(0, 255, 400).astype(np.uint8), (300, 1))
    kind, _, data = thumbnail(ramp, 100).partition(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.size == (100, 75)
        shown = np.asarray(image).mean(axis=0)
    assert np.abs(shown - np.linspace(0, 255, 100)).max() < 8
