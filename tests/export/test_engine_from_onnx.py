"""`bt-engine`: real plans by TensorRT for RTX, which needs no GPU; the lint before the first of them."""

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

from braintumor.errors import UsageError
from braintumor.export import ExportOptions, MemberOptions, VerificationImages, export_bundle
from braintumor.export.bundle import write_bundle
from braintumor.export.tensorrt.build import PORTABLE, EngineOptions, build_engines
from braintumor.export.tensorrt.cli import engine
from braintumor.models.labels import CLASSES
from braintumor.runtime.bundle.load import Bundle, load_bundle
from braintumor.runtime.engines.tensorrt.build import BuildOptions
from braintumor.runtime.engines.tensorrt.plan_file import read_plan, sidecar_of
from braintumor.runtime.engines.tensorrt.profile import BatchProfile
from tests.support.keras_worker import keras_in_this_process

pytest.importorskip("tensorrt_rtx")


@pytest.fixture(scope="module")
def bundle(small_keras: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    members = tuple(
        MemberOptions(small_keras(name, size=size), name, 1.0, CLASSES)
        for name, size in (("one", (32, 32)), ("two", (40, 48)))
    )
    folder = tmp_path_factory.mktemp("bundles") / "fp16"
    options = ExportOptions(members, "fp16", folder, "small", VerificationImages((), 64), "by a test")
    with keras_in_this_process():
        return export_bundle(options)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(engine, [str(argument) for argument in arguments])


def no_gpu() -> bool:
    runtime = pytest.importorskip("cuda.bindings.runtime")
    return bool(runtime.cudaGetDeviceCount()[0] != runtime.cudaError_t.cudaSuccess)


def test_bt_engine_writes_a_plan_and_a_json_file_per_member(bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "plans"
    result = run(bundle.folder, "--capability", "sm86, SM120", "--batch", "1,2,4", "--out", out)
    assert result.exit_code == 0, result.output
    for member in bundle.members:
        path = out / f"{member.name}-fp16-tensorrt-rtx.plan"
        plan, facts = read_plan(path)
        assert len(plan) > 1000
        assert facts.onnx_sha256 == member.sha256
        assert facts.compute_capabilities == ("SM86", "SM120")
        assert facts.profile == BatchProfile(1, 2, 4)
        assert json.loads(sidecar_of(path).read_bytes())["schema"] == "braintumor.plan/1"
        assert f"{path}: {member.name} for SM86, SM120, batches 1,2,4" in result.output
    assert f"export BRAINTUMOR_PLANS={out}" in result.output
    assert sorted(path.suffix for path in out.iterdir()) == [".json", ".json", ".plan", ".plan"]
    if sys.platform != "win32":
        assert stat.S_IMODE(out.stat().st_mode) == 0o700


def test_bt_engine_builds_for_the_usual_cards_without_a_gpu(bundle: Bundle, tmp_path: Path) -> None:
    if not no_gpu():
        pytest.skip("this machine has a GPU")
    built = list(build_engines(bundle, EngineOptions("tensorrt-rtx", tmp_path / "plans")))
    assert {engine.facts.compute_capabilities for engine in built} == {PORTABLE}


def test_bt_engine_names_lint_findings_before_anything_is_built(tmp_path: Path) -> None:
    good = _member({})
    bad = _member({"zero": np.uint8(0)})
    folder = _bundle_of(tmp_path, good, bad)
    result = run(folder, "--capability", "SM86", "--out", tmp_path / "plans")
    assert result.exit_code == 3
    assert "the-q: QuantizeLinear of uint8; must be int8" in result.output
    assert not (tmp_path / "plans").exists()
    assert run(_bundle_of(tmp_path, good), "--capability", "SM86", "--out", tmp_path / "plans").exit_code == 0


def _member(changed: dict[str, Any]) -> onnx.ModelProto:
    constants = {
        "axis": np.array([2], np.int64),
        "scale": np.float32(0.1),
        "zero": np.int8(0),
        "weights": np.ones((16, 4), np.float32),
    } | changed
    nodes = [
        helper.make_node("Cast", ["image"], ["grey"], name="to-float", to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["grey", "axis"], ["rows"], name="mean", keepdims=0),
        helper.make_node("QuantizeLinear", ["rows", "scale", "zero"], ["q"], name="the-q"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"], name="the-dq"),
        helper.make_node("MatMul", ["d", "weights"], ["logits"], name="head"),
        helper.make_node("Softmax", ["logits"], ["probabilities"], name="softmax", axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "int8",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 16, 16])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def _bundle_of(tmp_path: Path, *models: onnx.ModelProto) -> Path:
    folder = tmp_path / f"bundle-of-{len(models)}"
    entries, files = [], {}
    for index, model in enumerate(models):
        name = f"m{index}"
        files[name] = tmp_path / f"{name}.onnx"
        onnx.save(model, files[name])
        size = {"height": 16, "width": 16, "resize": "antialias"}
        entries.append(
            {
                "name": name,
                "weight": 1.0,
                **size,
                "precision": "int8",
                "source": {},
                "opset": 19,
                "tools": {},
                "parity": {},
            }
        )
    return write_bundle(
        folder, name="b", classes=CLASSES, members=entries, files=files, probes={}, command="by a test"
    ).folder


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--capability", "SM90"), 2, "does not build for SM90; it builds for"),
        (("--capability", "8.6"), 2, "write SM86 for 8.6"),
        (("--batch", "8,1"), 2, "as in 1,8,32"),
        (("--capability", "SM86", "--version-compatible"), 2, "no version or hardware compatibility"),
    ],
)
def test_bt_engine_refuses_in_one_line_and_leaves_no_plan(
    bundle: Bundle, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    result = run(bundle.folder, *arguments, "--out", tmp_path / "plans")
    assert (result.exit_code, len(result.output.splitlines())) == (code, 1)
    assert message in result.output
    assert not list(tmp_path.rglob("*.plan"))


def test_bt_engine_says_what_tensorrt_needs(bundle: Bundle, tmp_path: Path) -> None:
    if not no_gpu():
        pytest.skip("this machine has a GPU")
    result = run(bundle.folder, "--engine", "tensorrt", "--out", tmp_path / "plans")
    assert result.exit_code == 5
    assert "pip install" in result.output or "no NVIDIA GPU" in result.output


def test_bt_engine_refuses_a_folder_inside_a_bundle(bundle: Bundle) -> None:
    options = EngineOptions("tensorrt-rtx", bundle.folder / "plans", BuildOptions(capabilities=("SM86",)))
    with pytest.raises(UsageError, match="a bundle holds no plans"):
        list(build_engines(bundle, options))
    load_bundle(bundle.folder)


def test_bt_engine_help_loads_neither_onnx_nor_tensorrt() -> None:
    code = (
        "import sys\nfrom braintumor.export.tensorrt.cli import engine\n"
        "engine(['--help'], standalone_mode=False)\n"
        "print({name for name in ('onnx', 'tensorrt_rtx', 'numpy', 'cuda') if name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")
