"""Everything that needs a GPU, in one go: `make gpu`.

    python bench/perf/gpu_suite.py [--out gpu-suite] [--data brain-mri-224.npz] [--bundles DIR]

The stages are bt-doctor, the tests marked gpu, an export in every precision, the accuracy of every engine that uses a
GPU at batch 1, 8 and 32 beside ONNX Runtime on the CPU in FP32, and latencies. Each stage is a process of its own, so
that one that fails or hangs does not affect the others. A stage that cannot run is skipped with the reason.
OUT/suite.json (schema `braintumor.gpu-suite/1`: "machine", "stages", "passed", "failed", "skipped") names the JSON
file of every stage. Needs no network.

Exit code 0 when nothing that ran has failed, 3 otherwise.
"""

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import click

from braintumor.bench.cli import COMMANDS
from braintumor.bench.document import decode
from braintumor.command import Command
from braintumor.files import atomic_text
from braintumor.runtime.doctor.diagnosis import EngineFinding
from braintumor.system.summary import Nvidia

__all__ = ["GpuFindings", "Stage", "StageResult", "main", "run_stage", "stages"]

SCHEMA: Final = "braintumor.gpu-suite/1"
PRECISIONS: Final = ("fp32", "fp16", "int8")
_BATCHES: Final = (1, 8, 32)
_REFERENCE: Final = "onnxruntime-cpu"
_FAILED: Final = 3
_LIMIT_S: Final = 1800.0
_SHOWN: Final = 2000
_ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the suite: one command.

    Attributes:
        name: Such as "accuracy tensorrt-rtx fp16 batch 8".
        command: Program and arguments; empty if it is skipped.
        output: The file of its result.
        needs: A folder that an earlier stage writes.
        skipped: Why it cannot run; "" if it can.
    """

    name: str
    command: tuple[str, ...] = ()
    output: Path | None = None
    needs: Path | None = None
    skipped: str = ""


@dataclass(frozen=True, slots=True)
class StageResult:
    """The outcome of a stage.

    Attributes:
        name: Of the stage.
        status: Outcome.
        reason: Why it was skipped, or the end of the output of a command that failed.
        wall_s: Duration in seconds.
        command: Program and arguments.
        output: File of its result, if it wrote one.
    """

    name: str
    status: Literal["passed", "failed", "skipped"]
    reason: str = ""
    wall_s: float = 0.0
    command: tuple[str, ...] = ()
    output: str | None = None


@dataclass(frozen=True, slots=True)
class GpuFindings:
    """The part of `bt-doctor --json` that decides which stages can run.

    Attributes:
        nvidia: NVIDIA's GPUs and driver.
        engines: In the registry's order.
    """

    nvidia: Nvidia
    engines: tuple[EngineFinding, ...]


def stages(doctor: GpuFindings, out: Path, data: Path | None, bundles: Path | None) -> Iterator[Stage]:
    """Yield the stages for a machine, in order.

    Args:
        doctor: Result of `bt-doctor`.
        out: Folder for results and exported bundles.
        data: Real test images, as `bt-bench accuracy --data` takes them.
        bundles: Folder of bundles called fp32, fp16 and int8; None exports the shipped weights.
    """
    engines = [engine for engine in doctor.engines if engine.device != "cpu"]
    is_usable = any(engine.usable for engine in engines)
    no_gpu = "" if is_usable else f"no engine can use a GPU here: {doctor.nvidia.note or 'see the engines below'}"
    tests = out / "tests.xml"
    test = (sys.executable, "-m", "pytest", "-m", "gpu", "-q", f"--junitxml={tests}", str(_ROOT / "tests"))
    yield Stage("tests", test, tests, skipped=no_gpu)
    folders = {precision: (bundles or out / "bundles") / precision for precision in PRECISIONS}
    if bundles is None:
        for precision, folder in folders.items():
            yield _export(precision, folder, no_gpu)
    for engine in engines:
        unusable = "" if engine.usable else engine.reason
        for precision, folder in folders.items():
            for batch in _BATCHES:
                yield _accuracy(engine.name, precision, batch, folder, folders["fp32"], out, data, unusable)
            yield _latency(engine.name, precision, folder, out, data, unusable)


def _export(precision: str, folder: Path, skipped: str) -> Stage:
    if not skipped and importlib.util.find_spec("tensorflow") is None:
        skipped = "exporting needs TensorFlow, which is not installed; name exported bundles with --bundles DIR"
    command = _entry_point("export.cli", "--precision", precision, "--bundle", str(folder))
    return Stage(f"export {precision}", command, skipped=skipped)


def _accuracy(
    engine: str, precision: str, batch: int, folder: Path, reference: Path, out: Path, data: Path | None, skipped: str
) -> Stage:
    skipped = skipped or _missing_command("accuracy")
    if not skipped and data is None:
        skipped = "it needs real test images: --data DIR|NPZ"
    output = out / f"accuracy-{engine}-{precision}-{batch}.json"
    options = ("--reference", str(reference), "--reference-engine", _REFERENCE, "--batch-size", str(batch))
    command = _entry_point(
        "bench.cli",
        *("accuracy", str(folder), "--engine", engine, *options),
        *("--data", str(data), "--json", str(output), "--no-record"),
    )
    return Stage(f"accuracy {engine} {precision} batch {batch}", command, output, folder, skipped)


def _latency(engine: str, precision: str, folder: Path, out: Path, data: Path | None, skipped: str) -> Stage:
    output = out / f"latency-{engine}-{precision}.json"
    images = () if data is None else ("--data", str(data))
    command = _entry_point(
        "bench.cli",
        *("latency", str(folder), "--engine", engine, "--batch", ",".join(map(str, _BATCHES))),
        *(*images, "--json", str(output)),
    )
    return Stage(f"latency {engine} {precision}", command, output, folder, skipped or _missing_command("latency"))


def _missing_command(command: str) -> str:
    return "" if command in COMMANDS else f"this version has no bt-bench {command}"


def _entry_point(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-P", "-c", f"from braintumor.{module} import main; main()", *arguments)


def run_stage(stage: Stage, limit_s: float = _LIMIT_S) -> StageResult:
    """Run a stage to its end, or skip it.

    Args:
        stage: The stage.
        limit_s: A stage that takes longer is stopped and fails.
    """
    if not stage.skipped and stage.needs is not None and not stage.needs.is_dir():
        stage = replace(stage, skipped=f"there is no bundle {stage.needs}")
    if stage.skipped:
        return StageResult(stage.name, "skipped", stage.skipped)
    start = time.perf_counter()
    try:
        process = subprocess.run(
            stage.command, capture_output=True, text=True, errors="replace", timeout=limit_s, check=False
        )
        output = _end(process.stdout, process.stderr)
        reason = "" if process.returncode == 0 else f"exit code {process.returncode}: {output}"
    except subprocess.TimeoutExpired:
        reason = f"stopped after {limit_s:g} s"
    return StageResult(
        stage.name,
        "failed" if reason else "passed",
        reason,
        time.perf_counter() - start,
        stage.command,
        str(stage.output) if stage.output is not None and stage.output.exists() else None,
    )


def _end(*texts: str) -> str:
    return " | ".join(text.strip()[-_SHOWN:] for text in texts if text.strip())


def _doctor() -> object:
    """The output of `bt-doctor --json`, as plain data."""
    command = _entry_point("runtime.doctor.cli", "--json")
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)


def _summary(machine: object, results: Sequence[StageResult]) -> dict[str, Any]:
    counts = {
        status: sum(result.status == status for result in results) for status in ("passed", "failed", "skipped")
    }
    return {"schema": SCHEMA, "machine": machine, "stages": [asdict(result) for result in results], **counts}


@click.command(cls=Command)
@click.option("--out", type=click.Path(path_type=Path), default=Path("gpu-suite"), show_default=True)
@click.option("--data", metavar="DIR|NPZ", type=click.Path(path_type=Path, exists=True), help="Real test images.")
@click.option("--bundles", metavar="DIR", type=click.Path(path_type=Path, exists=True), help="With fp32, fp16, int8.")
def main(out: Path, data: Path | None, bundles: Path | None) -> None:
    """Run all that needs a GPU; skip, with a reason, what cannot run here."""
    out = out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    if data is None and (default := os.environ.get("BRAINTUMOR_DATA")):
        data = Path(default)
    machine = _doctor()
    results = []
    for stage in stages(decode(machine, GpuFindings), out, data and data.absolute(), bundles and bundles.absolute()):
        result = run_stage(stage)
        results.append(result)
        click.echo(f"{result.status:<8} {result.name}" + (f": {result.reason}" if result.reason else ""))
        with atomic_text(out / "suite.json") as stream:
            json.dump(_summary(machine, results), stream, indent=1)
    summary = _summary(machine, results)
    click.echo(
        f"{summary['passed']} passed, {summary['failed']} failed, {summary['skipped']} skipped: {out / 'suite.json'}"
    )
    if summary["failed"]:
        sys.exit(_FAILED)


if __name__ == "__main__":
    main()
