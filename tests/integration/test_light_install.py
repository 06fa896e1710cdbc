"""An installation without TensorFlow and Keras: it answers, exports, and says what it lacks."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from braintumor.runtime.bundle.load import load_bundle
from tests.support.paths import ROOT

SCAN = ROOT / "examples" / "scan.png"


def run(light: Path, cache: Path, cwd: Path, command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [light / command, *map(str, arguments)],
        env=environment | {"BRAINTUMOR_CACHE": str(cache), "PYTHONHASHSEED": "7"},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.mark.slow
def test_bt_infer_answers_from_an_empty_cache(light: Path, tmp_path: Path) -> None:
    for _ in range(2):
        done = run(light, tmp_path / "cache", tmp_path, "bt-infer", SCAN, "--engine", "onnxruntime-cpu")
        assert done.returncode == 0, done.stderr
        record = json.loads(done.stdout)
        assert (record["status"], record["label"]) == ("ok", "healthy")
        assert len(record["members"]) == 3
    # The shipped cascade is of the shipped models.
    done = run(light, tmp_path / "cache", tmp_path, "bt-infer", SCAN, "--policy", "cascade")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["label"], record["risk"], record["members_run"]) == ("healthy", 0.005, 1)


def test_bt_export_verifies_shipped_weights_by_recorded_answers(
    light: Path, tmp_path: Path, shipped_model: Path
) -> None:
    done = run(light, tmp_path / "cache", tmp_path, "bt-export", shipped_model, "--precision", "int8")
    assert done.returncode == 0, done.stderr
    (member,) = load_bundle(tmp_path / "bundles" / "int8").members
    parity = member.details["parity"]
    assert parity["against_keras"]
    assert parity["reference"].endswith(", recorded")
    assert member.details["route"]["name"] == "direct"
    again = run(light, tmp_path / "cache", tmp_path, "bt-export", "--check", "bundles/int8")
    assert (again.returncode, again.stdout.splitlines()[0]) == (0, "DenseNet121: the same"), again.stderr


def test_bt_export_marks_other_models_as_not_verified(light: Path, tmp_path: Path, shipped_model: Path) -> None:
    own = tmp_path / "own.keras"
    own.write_bytes(shipped_model.read_bytes())
    done = run(light, tmp_path / "cache", tmp_path, "bt-export", own, "--precision", "fp16")
    assert done.returncode == 0, done.stderr
    assert "not verified against Keras" in done.stderr
    (member,) = load_bundle(tmp_path / "bundles" / "fp16").members
    assert not member.details["parity"]["against_keras"]
    answered = run(light, tmp_path / "cache", tmp_path, "bt-infer", SCAN, "--engine", "onnxruntime-cpu")
    assert answered.returncode == 0
    assert "not verified against Keras: own" in answered.stderr
    refused = run(light, tmp_path / "cache", tmp_path, "bt-export", "--verify", "bundles/fp16", own)
    assert refused.returncode == 5
    assert "Keras" in refused.stderr.splitlines()[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="interrupts by signal")
def test_an_interrupted_export_of_two_models_leaves_nothing(light: Path, tmp_path: Path, shipped_model: Path) -> None:
    other = tmp_path / "Other.keras"
    other.write_bytes(shipped_model.read_bytes())
    process = subprocess.Popen(
        [light / "bt-export", shipped_model, other],
        env=os.environ | {"BRAINTUMOR_CACHE": str(tmp_path / "cache")},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    members = tmp_path / "cache" / "onnx-member"
    while not any(members.glob(".*/model.onnx")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, b""), stderr
    assert b"Traceback" not in stderr
    assert not any(path.name.startswith(".") for path in members.iterdir())
    assert not (tmp_path / "bundles").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("bt-train", "DenseNet121", "--data", "x.npz"),
        ("bt-data", "audit", "x.npz"),
        ("bt-bench", "accuracy", "x", "--data", "x"),
        ("bt-bundle", "sign", ".", "--key", "x"),
        ("bt-bundle", "show", "x"),
        ("bt-engine", "x"),
        ("bt-export", "x.keras"),
    ],
)
def test_commands_end_in_one_line_without_a_traceback(light: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    done = run(light, tmp_path / "cache", tmp_path, *command)
    assert done.returncode in {2, 3, 4, 5}
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: ")
