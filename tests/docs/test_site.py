"""The documentation builds without a warning, asks no other host for anything, and is complete."""

import configparser
import html.parser
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

import braintumor
from braintumor import errors
from braintumor.models.labels import CLASSES
from tests.support.paths import BIN, ROOT

# Attributes by which a page makes a browser load something by itself; a link to click is not one.
LOADING = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src"}
ELSEWHERE = re.compile(r"^(https?:)?//")


class Requests(html.parser.HTMLParser):
    """Collects what a page asks other hosts for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        address = attributes.get(LOADING.get(tag, "")) or ""
        if ELSEWHERE.match(address) and attributes.get("rel") != "canonical":
            self.addresses.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    subprocess.run([shutil.which("make") or "make", "-s", ".typecheck"], cwd=ROOT, check=True)
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_no_page_asks_another_host_for_anything(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    assert {
        page.name: addresses for page in pages if (addresses := Requests(page.read_text(encoding="utf-8")).addresses)
    } == {}
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", style.read_text(encoding="utf-8")), style


@pytest.mark.parametrize(
    "planted",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/css">',
        '<img alt="" src="http://example/pixel.gif">',
    ],
)
def test_a_planted_request_is_noticed(planted: str) -> None:
    assert len(Requests(f"<html><head>{planted}</head></html>").addresses) == 1
    assert Requests('<a href="https://example">a link</a><img src="images/x.png">').addresses == []


def test_the_reference_shows_the_embedding_api(site: Path) -> None:
    page = (site / "api.html").read_text(encoding="utf-8")
    for name in ("Ensemble.load", "Ensemble.predict_many", "Prediction", "load_bundle", "export_bundle"):
        assert f'{name}"' in page
    assert braintumor.Ensemble.__doc__
    assert braintumor.Ensemble.__doc__.splitlines()[0] in page


def test_troubleshooting_explains_every_error_with_its_exit_code() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    explained = dict(re.findall(r"^### (\w+)\n\nExit code (\d)\.", page, re.MULTILINE))
    assert explained == {name: str(getattr(errors, name).exit_code) for name in errors.__all__}


def test_the_pages_made_from_the_golden_files_are_current(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "docs" / "scripts" / "schemas.py", tmp_path], check=True)
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert len(made) == 9
    for name in made:
        assert (ROOT / "docs" / name).read_bytes() == (tmp_path / name).read_bytes(), (
            f"docs/{name} is not current; run: python docs/scripts/schemas.py"
        )


def test_the_picture_of_an_answer_is_current(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "docs" / "scripts" / "answer.py", tmp_path / "answer.svg"], check=True)
    drawn = (tmp_path / "answer.svg").read_bytes()
    assert drawn == (ROOT / "docs" / "images" / "answer.svg").read_bytes(), "run: python docs/scripts/answer.py"


@pytest.mark.parametrize("name", ["prediction", "bundle", "run", "audit"])
def test_formats_explains_every_key(name: str) -> None:
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    golden = json.loads((ROOT / "tests" / "golden" / f"{name}.json").read_bytes())
    document = golden[0] if isinstance(golden, list) else golden
    keys = set(document) | (set(document["members"][0]) if name == "bundle" else set())
    assert sorted(key for key in keys if f"`{key}`" not in page) == []


def test_formats_explains_every_column_of_the_csv(sandbox: Path) -> None:
    command = [BIN / "bt-infer", "scan.png", "--bundle", "bundles/fp32", "--engine", "onnxruntime-cpu"]
    done = subprocess.run([*command, "--format", "csv"], cwd=sandbox, capture_output=True, text=True, check=True)
    columns = set(done.stdout.splitlines()[0].split(",")) - set(CLASSES)
    section = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8").partition("CSV (")[2].partition("## ")[0]
    assert sorted(column for column in columns if f"`{column}`" not in section) == []


def test_quickstart_explains_every_extra() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    page = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    extras = set(setup["options.extras_require"]) - {"dev"}
    assert sorted(extra for extra in extras if f"| `{extra}` |" not in page) == ["data"]
    assert "`data`" in page


def test_the_schema_of_a_prediction_takes_real_ones_and_no_others(sandbox: Path) -> None:
    schema = json.loads((ROOT / "docs" / "schemas" / "prediction.schema.json").read_bytes())
    with braintumor.Ensemble.load(sandbox / "bundles" / "fp32", engine="onnxruntime-cpu") as ensemble:
        documents = [
            json.loads(prediction.to_json())
            for prediction in ensemble.predict_many([sandbox / "scan.png", "gone.png"])
        ]
    for document in documents:
        jsonschema.validate(document, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(documents[0] | {"margin": "wide"}, schema)
