"""The GPU suite on machines with and without a GPU: stages, skips and reasons."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from braintumor.bench.perf import gpu_suite
from braintumor.bench.perf.gpu_suite import PRECISIONS, GpuFindings, Stage, run_stage, stages
from braintumor.runtime.doctor.diagnosis import EngineFinding
from braintumor.system.summary import Nvidia


def doctor(*, usable: bool) -> GpuFindings:
    return GpuFindings(
        Nvidia(note="" if usable else "no NVIDIA GPU was found"),
        (
            EngineFinding("onnxruntime-cuda", "cuda", usable, "" if usable else "no GPU", "", {}),
            EngineFinding("openvino-gpu", "gpu", usable=False, reason="no Intel GPU", remedy="", runs_on={}),
            EngineFinding("onnxruntime-cpu", "cpu", usable=True, reason="", remedy="", runs_on={}),
        ),
    )


@pytest.fixture(autouse=True)
def all_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan of a version that has them all."""
    monkeypatch.setattr(gpu_suite, "COMMANDS", {"accuracy": "", "latency": ""})


def test_stages_skip_missing_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_suite, "COMMANDS", {"latency": ""})
    planned = list(stages(doctor(usable=True), tmp_path, tmp_path / "data.npz", tmp_path))
    reasons = {stage.skipped for stage in planned if stage.name.startswith("accuracy onnxruntime-cuda")}
    assert reasons == {"this version has no bt-bench accuracy"}
    assert not [stage for stage in planned if stage.name.startswith("latency onnxruntime-cuda") and stage.skipped]


def test_stages_without_gpu_are_skipped_with_reason(tmp_path: Path) -> None:
    planned = list(stages(doctor(usable=False), tmp_path, None, None))
    results = [run_stage(stage) for stage in planned]
    assert {result.status for result in results} == {"skipped"}
    assert all(result.reason for result in results)
    assert "no NVIDIA GPU was found" in results[0].reason
    assert len({stage.name for stage in planned}) == len(planned) == 1 + 3 + 2 * 3 * 4


def test_stages_of_gpu_engine_in_every_precision(tmp_path: Path) -> None:
    data = tmp_path / "data.npz"
    planned = [stage for stage in stages(doctor(usable=True), tmp_path, data, tmp_path) if not stage.skipped]
    assert [stage.name for stage in planned] == [
        "tests",
        *(
            name
            for precision in PRECISIONS
            for name in (
                *(f"accuracy onnxruntime-cuda {precision} batch {batch}" for batch in (1, 8, 32)),
                f"latency onnxruntime-cuda {precision}",
            )
        ),
    ]
    command = planned[1].command
    assert command[command.index("--reference-engine") + 1] == "onnxruntime-cpu"


def test_stages_skip_accuracy_without_data(tmp_path: Path) -> None:
    planned = [
        stage for stage in stages(doctor(usable=True), tmp_path, None, tmp_path) if "accuracy onnx" in stage.name
    ]
    assert all("--data" in stage.skipped for stage in planned)


def test_run_stage_skips_stage_without_bundle(tmp_path: Path) -> None:
    result = run_stage(Stage("x", (sys.executable, "-c", ""), needs=tmp_path / "fp32"))
    assert (result.status, result.reason) == ("skipped", f"there is no bundle {tmp_path / 'fp32'}")


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("print('fine')", "passed", ""),
        ("import sys; print('no memory', file=sys.stderr); sys.exit(5)", "failed", "exit code 5: no memory"),
        ("import time; time.sleep(60)", "failed", "stopped after 0.5 s"),
    ],
)
def test_run_stage_passes_fails_or_stops(code: str, status: str, reason: str) -> None:
    result = run_stage(Stage("x", (sys.executable, "-c", code)), limit_s=0.5 if "sleep" in code else 60)
    assert (result.status, result.reason) == (status, reason)


def test_gpu_suite_writes_summary_here(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "braintumor.bench.perf.gpu_suite", "--out", str(tmp_path / "out")]
    if json.loads(_doctor_json())["nvidia"]["gpus"]:
        pytest.skip("this machine has a GPU: make gpu")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "out" / "suite.json").read_bytes())
    assert (summary["passed"], summary["failed"]) == (0, 0)
    assert summary["skipped"] == len(summary["stages"]) > 20
    assert summary["machine"]["schema"] == "braintumor.doctor/1"


def _doctor_json() -> str:
    code = "from braintumor.runtime.doctor.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, "--json"], capture_output=True, text=True, check=False).stdout
