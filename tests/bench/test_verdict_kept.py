"""A verdict on many images is not lost to one on few."""

from pathlib import Path

import pytest

from braintumor.bench.accuracy import cli
from braintumor.runtime.bundle.load import load_bundle
from tests.support.bundles import forge_bundle
from tests.support.onnx_models import small_graph


@pytest.mark.parametrize(
    ("images", "replace", "kept"), [(64, False, True), (64, True, False), (703, False, False), (900, False, False)]
)
def test_record_keeps_a_verdict_on_more_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], images: int, replace: bool, kept: bool
) -> None:
    folder = forge_bundle(tmp_path / "net", {"m": small_graph().SerializeToString()}, side=16, weights=[1.0])
    verdict = {"status": "accepted", "reason": "", "engine": "e", "reference": "keras", "flips": 0}
    cli._record(load_bundle(folder), {**verdict, "images": 703, "correct": 700}, replace=False)
    few = {**verdict, "status": "not shown", "images": images, "correct": 60}
    cli._record(load_bundle(folder), few, replace=replace)
    present = load_bundle(folder).acceptance
    assert present is not None
    assert present["status"] == ("accepted" if kept else "not shown")
    assert ("--replace" in capsys.readouterr().err) == kept
