"""The page and the table of a report: complete, safe, and readable without colour."""

import re
from xml.etree import ElementTree as ET

import pytest

from braintumor import NOTICE
from braintumor.bench.accuracy.result import AccuracyResult
from braintumor.bench.document import decode
from braintumor.bench.report import report_markdown, report_page
from braintumor.bench.report.naming import named_bundles
from tests.support.reports import CHAPTERS, ENGINE, Documents, flipped, reported


@pytest.fixture
def page(documents: Documents) -> str:
    return report_page(reported(*documents))


def test_report_page_needs_nothing_from_elsewhere(page: str) -> None:
    assert not re.search(r"https?:|<link|<script|@import|url\((?!#)|<iframe|<object", page)
    assert all(source.startswith("data:") for source in re.findall(r'src="([^"]*)', page))


def test_report_page_begins_with_the_verdict_and_has_its_chapters_in_order(page: str) -> None:
    assert 0 < page.index('class="verdict') < page.index(f"<h2>{CHAPTERS[0]}</h2>")
    assert tuple(re.findall(r"<h2>(.*?)</h2>", page)) == CHAPTERS
    assert page.count(NOTICE) >= 2


def test_report_page_is_well_formed(page: str) -> None:
    body = page[page.index("<body>") : page.index("</html>")]
    ET.fromstring(re.sub(r"<(br|img[^>]*)>", r"<\1/>", body))  # noqa: S314 - our own text


def test_report_page_shows_the_figures_of_the_data(documents: Documents, page: str) -> None:
    scores = documents[0]["bundles"][0]["scores"]
    summary = page[: page.index("<h2>")]
    assert f"{scores['correct']} of {scores['images']}" in summary
    assert f"{100 * scores['interval'][0]:.2f}" in summary
    assert "images a second" in summary
    for name, line in scores["per_class"].items():
        first, last = (
            f'{name}</th><td class="n">{line["precision"]:.4f}</td>',
            f'<td class="n">{line["support"]}</td></tr>',
        )
        assert re.search(f"{first}.*?{last}", page)


def test_report_page_shows_a_verdict_by_a_word_and_a_sign(documents: Documents) -> None:
    accuracy, latency = documents
    for status, shown in (
        ("accepted", "✓ Accepted"),
        ("refused", "✗ Refused"),
        ("not shown", "? Not shown"),
        ("unjudged", "Not judged"),
    ):
        accuracy["bundles"][0]["verdict"]["status"] = status
        assert f"<h3>{shown}: small on {ENGINE}</h3>" in report_page(reported(accuracy, latency))


def test_named_bundles_numbers_bundles_of_the_same_name(documents: Documents) -> None:
    first = documents[0]["bundles"][0]
    other = {**first, "sha256": "f" * 64}
    bundles = named_bundles(decode({**documents[0], "bundles": [first, other, first]}, AccuracyResult))
    assert [bundle.key for bundle in bundles] == [f"small on {ENGINE}", f"small on {ENGINE} #2", f"small on {ENGINE}"]
    assert bundles[0].reference_key == bundles[0].key
    shown = report_page(reported({**documents[0], "bundles": [first, other]}, documents[1]))
    assert shown.count(f": small on {ENGINE}</h3>") == shown.count(f": small on {ENGINE} #2</h3>") == 1


def test_report_page_shows_a_flip_with_its_picture(documents: Documents) -> None:
    shown = report_page(reported(flipped(documents[0], '<b>"x"&y</b>.png')))
    card = re.search(r'<div class="card">.*?</div></div>', shown)
    assert card
    assert "data:image/png;base64,iVBORw0KGgo=" in card[0]
    assert "now wrong" in card[0]
    assert "reference healthy 100.0\u00a0%" in card[0]
    assert "bundle glioma 100.0\u00a0%" in card[0]
    assert "&lt;b&gt;" in card[0]
    assert "<b>&#34;" not in card[0]


def test_report_page_escapes_all_texts_of_a_file(documents: Documents) -> None:
    attack = '"><script>alert(1)</script>'
    accuracy, latency = flipped(documents[0], attack), documents[1]
    accuracy["bundles"][0]["comparison"]["flipped"][0]["png_base64"] = attack
    accuracy["bundles"][0]["verdict"]["reason"] = attack
    accuracy["bundles"][0]["name"] = attack
    latency["contenders"][0]["key"] = attack
    accuracy["images"]["source"] = latency["command"] = latency["images"]["source"] = attack
    assert "<script" not in report_page(reported(accuracy, latency))


def test_report_markdown_is_a_table(documents: Documents) -> None:
    text = report_markdown(reported(*documents))
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 2
    for rows in tables:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1, rows
    scores = documents[0]["bundles"][0]["scores"]
    assert f"{100 * scores['accuracy']:.2f} %" in tables[0][2]
    assert NOTICE in text
