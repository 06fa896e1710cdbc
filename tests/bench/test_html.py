"""`render` and `Table`: what pages are made of."""

import re
import sys
from pathlib import Path

import jinja2
import pytest
from markupsafe import Markup

from braintumor import NOTICE
from braintumor.bench.report import html
from braintumor.bench.report.html import Table, render, require_pages
from braintumor.errors import UnavailableError

ODD = '<script>alert("&")</script>'


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A page of a room of its own, which extends the common one."""
    path = tmp_path / "small.html.j2"
    path.write_text(
        '{% extends "base.html.j2" %}{% from "macros.html.j2" import section, figure %}'
        "{% block title %}{{ title }}{% endblock %}{% block about %}{{ title }}{% endblock %}"
        "{% block content %}{% call section(title) %}{{ figure(chart, title) }}{{ table }}{% endcall %}"
        '{% call section("Nothing") %} {% endcall %}{% endblock %}'
    )
    return path


def rendered(template: Path) -> str:
    table = Table((ODD, "n"), [(ODD, ODD)], caption=ODD)
    return render(template, title=ODD, chart=Markup("<svg></svg>"), table=table)


def test_render_escapes_all_text(template: Path) -> None:
    page = rendered(template)
    assert "<script" not in page
    # Title, heading, about, heading and caption of the chapter; and of the table its caption and three cells.
    assert page.count("&lt;script&gt;") == 9
    assert page.count("<svg></svg>") == 1


def test_render_makes_a_page_that_needs_nothing_from_elsewhere(template: Path) -> None:
    page = rendered(template)
    assert page.count(NOTICE) == 2
    assert not re.search(r"https?:|//|<link|<script|@import|url\(", page)


def test_section_without_content_has_no_heading(template: Path) -> None:
    assert "Nothing" not in rendered(template)


def test_render_refuses_a_template_that_uses_what_it_did_not_get(template: Path) -> None:
    with pytest.raises(jinja2.UndefinedError):
        render(template)


def test_table_aligns_figures_and_names_rows_and_columns() -> None:
    table = Table(("name", "kind", "ms"), [("a", "b", "1.0"), ("c", "d", "2.0")], text_columns=2, strong=1).__html__()
    assert '<th scope="col">name</th><th scope="col">kind</th><th scope="col" class="n">ms</th>' in table
    assert '<tr><th scope="row">a</th><td>b</td><td class="n">1.0</td></tr>' in table
    assert table.count('<tr class="strong">') == 1


def test_table_refuses_a_row_that_does_not_fit_its_head() -> None:
    with pytest.raises(ValueError, match="2 cells"):
        Table(("a", "b"), [("1",)])


def test_require_pages_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    html._environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(UnavailableError, match=r"braintumor\[bench\]"):
        require_pages()
