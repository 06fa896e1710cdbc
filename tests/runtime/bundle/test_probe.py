"""The probe of a bundle: what an engine must answer before its speed counts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braintumor.errors import IntegrityError
from braintumor.runtime.bundle.checksum import with_checksum
from braintumor.runtime.bundle.load import MANIFEST, load_bundle
from braintumor.runtime.bundle.probe import Probe, probe_mismatch, probe_of, probes_of
from braintumor.runtime.engines.onnxruntime import OnnxRuntimeCpuEngine

ROWS = np.array([[0.7, 0.1, 0.1, 0.1], [0.26, 0.25, 0.25, 0.24]], np.float32)
PROBE = Probe(np.zeros((2, 4, 4), np.uint8), ROWS)


def test_probe_of_every_exported_member_matches_its_file(three: Path) -> None:
    bundle = load_bundle(three)
    assert len(probes_of(bundle)) == len(bundle.members)
    for member in bundle.members:
        probe = probe_of(member)
        assert probe is not None
        assert probe.images.shape == (8, member.height, member.width)
        with OnnxRuntimeCpuEngine(member) as engine:
            assert probe_mismatch(engine.infer(probe.images), probe, member.precision) == ""


def test_probe_mismatch_allows_rounding() -> None:
    assert probe_mismatch(ROWS + np.float32(5e-5), PROBE, "fp32") == ""
    # The second image's lead is smaller than what fp16 is allowed: its label may move.
    close = ROWS.copy()
    close[1] = [0.25, 0.26, 0.25, 0.24]
    assert probe_mismatch(close, PROBE, "fp16") == ""
    assert "off; at fp32" in probe_mismatch(close, PROBE, "fp32")


@pytest.mark.parametrize("invalid", [np.nan, np.inf])
def test_probe_mismatch_finds_nan(invalid: float) -> None:
    assert "off" in probe_mismatch(np.full_like(ROWS, invalid), PROBE, "int8")


def test_probe_mismatch_finds_another_label() -> None:
    turned = ROWS.copy()
    turned[0] = [0.38, 0.42, 0.1, 0.1]
    assert probe_mismatch(turned, PROBE, "int8") == "it gives 1 of 2 probe images another label"


def test_probe_mismatch_finds_missing_rows() -> None:
    assert "[1, 4] values for 2 probe images" in probe_mismatch(ROWS[:1], PROBE, "int8")


def test_probe_of_refuses_images_that_were_changed_after_loading(copied: Path) -> None:
    (member,) = load_bundle(copied).members
    assert member.probe is not None
    member.probe.write_bytes(bytes(member.probe.stat().st_size))
    with pytest.raises(IntegrityError, match="changed while it was loaded"):
        probe_of(member)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"probabilities": []}, "'probabilities' are not 1 to 64 rows"),
        ({"probabilities": [[1, 0, 0]]}, "rows of 4 values"),
        ({"probabilities": [[1, 0, 0, "0"]]}, "rows of 4 values"),
        ({"probabilities": [[2, 0, 0, 0]]}, r"values 0\.\.1"),
        ({"probabilities": [[-0.001, 0.5, 0.5, 0.001]]}, r"values 0\.\.1"),
        ({"probabilities": [[1, 0, 0, 0]]}, "bytes are not 1 images"),
        ({"sha256": "0"}, "64 hexadecimal digits"),
        ({"sha256": "0" * 64}, "SHA-256"),
        ({"file": "../probe.raw"}, "leaves the bundle"),
        ({"file": "a/model.onnx"}, "file a/model.onnx is listed twice"),
        ({"file": "a/other.raw"}, "lacks a/other.raw"),
        ({"size_bytes": None}, "'size_bytes' is NoneType"),
    ],
)
def test_load_bundle_refuses_a_wrong_probe(copied: Path, change: dict[str, Any], words: str) -> None:
    manifest = json.loads((copied / MANIFEST).read_bytes())
    manifest["members"][0]["probe"].update(change)
    (copied / MANIFEST).write_text(json.dumps(with_checksum(manifest)))
    with pytest.raises(IntegrityError, match=words):
        load_bundle(copied)


def test_probes_of_an_older_bundle_are_empty(handmade: Callable[..., Path], graph: Callable[..., Any]) -> None:
    bundle = load_bundle(handmade(graph()))
    assert probe_of(bundle.members[0]) is None
    assert probes_of(bundle) == ()
