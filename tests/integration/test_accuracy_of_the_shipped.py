"""`bt-bench accuracy` on the shipped ensemble and the 703 real test images, as it is typed."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import BIN


@pytest.mark.slow
def test_accuracy_command_accepts_shipped_ensemble_on_the_703(test_split: Path, tmp_path: Path) -> None:
    bundle, report = tmp_path / "fp32", tmp_path / "accuracy.json"
    subprocess.run(
        [BIN / "bt-export", "--precision", "fp32", "--bundle", bundle], check=True, capture_output=True, cwd=tmp_path
    )
    command = [BIN / "bt-bench", "accuracy", bundle, "--data", test_split, "--engine", "onnxruntime-cpu"]
    done = subprocess.run(
        [*command, "--json", report, "--robustness", "16"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "ACCEPTED: 0 of 703 labels flip" in done.stdout
    document = json.loads(report.read_text())
    assert document["images"]["supports"] == {"glioma": 158, "healthy": 199, "meningioma": 183, "pituitary": 163}
    assert document["images"]["of_the_study"] == {"test": 703, "val": 0, "train": 0}
    (bundle_result,) = document["bundles"]
    assert bundle_result["near_duplicate_free"]["images"] == 359
    assert bundle_result["scores"]["accuracy"] > 0.97
    assert bundle_result["comparison"]["max_abs_difference"] < 1e-5
    assert bundle_result["comparison"]["tango_lower_one_sided_points"] == pytest.approx(-0.383, abs=0.001)
    acceptance = json.loads((bundle / "bundle.json").read_text())["acceptance"]
    assert (acceptance["status"], acceptance["correct"]) == ("accepted", bundle_result["scores"]["correct"])
