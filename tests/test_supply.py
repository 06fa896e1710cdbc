"""Lock files, licences, audit and the bill of materials of the weights."""

import hashlib
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.ci_scripts import ci_script
from tests.support.paths import PRETRAINED


@pytest.fixture(scope="module")
def supply() -> ModuleType:
    return ci_script("supply")


def test_lock_files_are_those_of_the_extras(supply: ModuleType) -> None:
    assert sorted(path.stem for path in supply.LOCKS.glob("*.txt")) == supply.extras()


def test_lock_files_have_hashes_and_no_addresses(supply: ModuleType) -> None:
    for extra in supply.extras():
        text = (supply.LOCKS / f"{extra}.txt").read_text(encoding="utf-8")
        assert "://" not in text
        assert "--index" not in text
        blocks = re.split(r"^(?=\w)", text, flags=re.MULTILINE)[1:]
        assert len(blocks) == len(list(supply.locked(extra))) > 5
        assert all("--hash=sha256:" in block for block in blocks)


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (None, 2),
        ({"dependencies": []}, 2),
        ({"dependencies": [{"name": "a", "skip_reason": "unknown"}]}, 2),
        ({"dependencies": [{"name": "a", "vulns": []}]}, 0),
        ({"dependencies": [{"name": "A", "vulns": [{"id": "X-1", "fix_versions": []}]}]}, 1),
    ],
)
def test_report_audit_counts_what_was_not_looked_up(supply: ModuleType, document: object, code: int) -> None:
    assert supply.report_audit("cpu", {"a": "1"}, json.dumps(document) if document else "") == code


def test_allowed_licences(supply: ModuleType) -> None:
    assert supply.ALLOWED.search("License :: OSI Approved :: MIT License")
    assert not supply.ALLOWED.search("GPL-3.0-only")
    assert not supply.ALLOWED.search("Proprietary")
    assert supply.licence_of("no-such-package") is None


def test_add_models_lists_every_shipped_model(supply: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "bom.json"
    path.write_text('{"bomFormat": "CycloneDX", "specVersion": "1.6"}')
    supply.add_models(str(path))
    components = json.loads(path.read_text())["components"]
    assert {item["name"]: item["hashes"][0]["content"] for item in components} == {
        model.stem: hashlib.sha256(model.read_bytes()).hexdigest() for model in PRETRAINED.glob("*.keras")
    }
    assert all(item["modelCard"]["modelParameters"]["datasets"][0]["description"] for item in components)
