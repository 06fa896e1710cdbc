"""The files that the pages name are there."""

import re
from pathlib import Path

import pytest

import braintumor
from tests.support.paths import ROOT

from .pages import PAGES

FOLDERS = "bench|braintumor|docs|examples|export|models|notebooks|runtime|tests|training"
NAMED = re.compile(rf"`((?:{FOLDERS})/[\w/.]+)`")
LINKED = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)")
# An example of a file to be written.
INVENTED = {"runtime/engines/yours.py"}


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name
)
def test_every_file_that_a_page_names_or_links_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = {name for name in NAMED.findall(text) if not (ROOT / name).exists()} - INVENTED
    linked = {link for link in LINKED.findall(text) if not (page.parent / link).exists()}
    assert not named | linked


def test_the_citation_and_the_package_have_one_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {braintumor.__version__}\n" in citation
