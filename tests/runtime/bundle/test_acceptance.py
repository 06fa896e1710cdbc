"""The verdict that a bundle carries is about that bundle, and changes nothing that answers."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from braintumor.errors import IntegrityError, OutputError
from braintumor.runtime.bundle.acceptance import write_acceptance
from braintumor.runtime.bundle.checksum import with_checksum
from braintumor.runtime.bundle.load import MANIFEST, load_bundle
from braintumor.runtime.bundle_lines import verdict_line

VERDICT = {
    "status": "accepted",
    "reason": "0 of 703 labels flip",
    "engine": "onnxruntime-cpu",
    "reference": "keras",
    "images": 703,
    "correct": 690,
    "flips": 0,
}


def accept(folder: Path, **changes: Any) -> None:
    write_acceptance(folder / MANIFEST, load_bundle(folder).details, VERDICT | changes)


def test_write_acceptance_keeps_the_identity(copied: Path) -> None:
    before = load_bundle(copied)
    assert before.acceptance is None
    accept(copied)
    first = load_bundle(copied)
    accept(copied, status="refused")
    second = load_bundle(copied)
    assert before.sha256 == first.sha256 == second.sha256
    assert first.acceptance is not None
    assert second.acceptance is not None
    assert (first.acceptance["status"], second.acceptance["status"]) == ("accepted", "refused")
    assert first.acceptance["judged_sha256"] == before.sha256


def test_load_bundle_refuses_a_verdict_on_another_bundle(copied: Path, half: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(half, other)
    accept(copied)
    accept(other)
    manifest = json.loads((copied / MANIFEST).read_text())
    manifest["acceptance"] = json.loads((other / MANIFEST).read_text())["acceptance"]
    (copied / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(IntegrityError, match="carries a verdict on the bundle"):
        load_bundle(copied)


def test_load_bundle_refuses_a_change_after_the_verdict(copied: Path) -> None:
    accept(copied)
    manifest = json.loads((copied / MANIFEST).read_text())
    manifest["members"][0]["weight"] = 5.0
    # With a checksum that fits, as a forger would write it.
    (copied / MANIFEST).write_text(json.dumps(with_checksum(manifest)))
    with pytest.raises(IntegrityError, match="changed after it was evaluated") as refused:
        load_bundle(copied)
    assert f"bt-bench accuracy {copied}" in refused.value.remedy


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "perfect"},
        {"correct": 704},
        {"images": 0, "correct": 0},
        {"flips": "none"},
        {"engine": "\x1b[31mred"},
        {"reason": None},
        {"schema": "braintumor.acceptance/9"},
    ],
)
def test_load_bundle_refuses_a_malformed_verdict(copied: Path, changes: dict[str, Any]) -> None:
    accept(copied)
    manifest = json.loads((copied / MANIFEST).read_text())
    manifest["acceptance"] |= changes
    (copied / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(IntegrityError, match="bt-bench accuracy"):
        load_bundle(copied)


def test_write_acceptance_leaves_the_bundle_when_it_fails(copied: Path) -> None:
    details = load_bundle(copied).details
    with pytest.raises(OutputError):
        write_acceptance(copied / "nowhere" / MANIFEST, details, VERDICT)
    assert load_bundle(copied).acceptance is None


def test_verdict_line_has_the_figures_and_the_reason() -> None:
    assert verdict_line(VERDICT) == (
        "verdict accepted on onnxruntime-cpu: 98.15 % of 703 images right, 0 labels differ from keras"
    )
    assert "0 of 703 labels flip" in verdict_line(VERDICT | {"status": "refused"})
