"""Real builds by TensorRT for RTX, which needs no GPU for them: what builds, and how a refusal is told."""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from braintumor.errors import IntegrityError, UnavailableError, UsageError
from braintumor.runtime.bundle.load import load_bundle
from braintumor.runtime.engines.tensorrt.build import BuildOptions, build_plan
from braintumor.runtime.engines.tensorrt.cuda import Gpu
from braintumor.runtime.engines.tensorrt.library import TrtLibrary, load_library
from braintumor.runtime.engines.tensorrt.plan_file import PlanTensor
from braintumor.runtime.engines.tensorrt.profile import BatchProfile

Make = Callable[..., Any]
AMPERE = BuildOptions(capabilities=("SM86",))
A4000 = Gpu("NVIDIA RTX A4000", "580.65.06", "SM86")
H200 = Gpu("NVIDIA H200", "580.65.06", "SM90")


def test_build_plan_gives_plans_and_facts_of_members(rtx: TrtLibrary, three: Path) -> None:
    for member in load_bundle(three).members:
        options = BuildOptions(BatchProfile(1, 4, 16), ("SM80", "SM86", "SM89", "SM120"))
        plan = build_plan(rtx, member.path, options)
        assert len(plan.data) > 10_000
        facts = plan.facts
        assert facts.plan_sha256 == hashlib.sha256(plan.data).hexdigest()
        assert facts.onnx_sha256 == member.sha256
        assert facts.inputs == (PlanTensor("image", "uint8", (-1, member.height, member.width)),)
        assert facts.outputs == (PlanTensor("probabilities", "float32", (-1, 4)),)
        assert (facts.profile, facts.compute_capabilities) == (options.profile, options.capabilities)
        assert (facts.library, facts.library_version) == ("tensorrt-rtx", rtx.version)
        assert (facts.gpu, facts.driver) == (None, None)
        assert 0 < facts.build_s < 600


def test_build_plan_takes_fp16_and_int8(rtx: TrtLibrary, half: Path, small_member: Make, quantised: Make) -> None:
    for model in (load_bundle(half).members[0].path, small_member(*quantised())):
        assert build_plan(rtx, model, AMPERE).data


def test_build_plan_builds_for_the_present_gpu_by_default(rtx: TrtLibrary, small_member: Make) -> None:
    facts = build_plan(rtx, small_member(), BuildOptions(), on=A4000).facts
    assert facts.compute_capabilities == ("SM86",)
    assert (facts.gpu, facts.driver) == (A4000.name, A4000.driver)


def test_build_plan_refuses_a_zero_point_with_its_node(rtx: TrtLibrary, small_member: Make, quantised: Make) -> None:
    with pytest.raises(
        UnavailableError, match=r"node the-q \(QuantizeLinear\): Non-zero zero point is not supported"
    ):
        build_plan(rtx, small_member(*quantised(np.int8(3))), AMPERE)


def test_build_plan_refuses_an_int32_dequantise_with_its_node(rtx: TrtLibrary, small_member: Make) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["b", "s"], ["bias"], name="bias-dq"),
        helper.make_node("Add", ["rows", "bias"], ["features"], name="add"),
    ]
    model = small_member(nodes, {"b": np.zeros(16, np.int32), "s": np.float32(1)})
    with pytest.raises(UnavailableError) as caught:
        build_plan(rtx, model, AMPERE)
    message = str(caught.value)
    assert "node bias-dq (DequantizeLinear): input has type Int32 but must have type" in message
    # Neither the places in the library's source nor what follows from there being no GPU.
    assert not any(word in message for word in ("/_src", "Error Code", "cudaError", "\n"))


def test_build_plan_refuses_an_unknown_operator_with_its_node(rtx: TrtLibrary, small_member: Make) -> None:
    model = small_member([helper.make_node("Unique", ["rows"], ["features"], name="odd")])
    with pytest.raises(UnavailableError, match=r"node odd \(Unique\): UNSUPPORTED_NODE.*engine='onnxruntime-cpu'"):
        build_plan(rtx, model, AMPERE)


def test_build_plan_refuses_types_that_do_not_fit(rtx: TrtLibrary, small_member: Make) -> None:
    nodes = [
        helper.make_node("Cast", ["rows"], ["half"], name="half", to=TensorProto.FLOAT16),
        helper.make_node("Add", ["half", "rows"], ["features"], name="mixed"),
    ]
    with pytest.raises(UnavailableError, match=r"node mixed \(Add\): .*same input types"):
        build_plan(rtx, small_member(nodes), AMPERE)


def test_build_plan_names_the_node_that_the_builder_refuses(rtx: TrtLibrary, small_member: Make) -> None:
    with pytest.raises(UnavailableError, match=r"does not build .*'head' for Turing \(SM75\): FP32 GEMM is not"):
        build_plan(rtx, small_member(), BuildOptions(capabilities=("SM75",)))


def test_build_plan_refuses_a_fixed_batch(rtx: TrtLibrary, small_member: Make) -> None:
    with pytest.raises(IntegrityError, match="takes batches of 3 only"):
        build_plan(rtx, small_member(batch=3), AMPERE)


@pytest.mark.parametrize("content", [b"", b"\x00not onnx", b"\x08\x07"])
def test_build_plan_refuses_a_file_that_is_not_onnx(rtx: TrtLibrary, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises((IntegrityError, UnavailableError), match=r"m\.onnx"):
        build_plan(rtx, path, AMPERE)


@pytest.mark.parametrize(
    ("options", "on", "error", "message"),
    [
        (BuildOptions(capabilities=("SM90",)), None, UsageError, "does not build for SM90; it builds for .*SM120"),
        (BuildOptions(), H200, UnavailableError, "does not build for SM90.*'tensorrt'.*'onnxruntime-cuda'"),
        (BuildOptions(), None, UsageError, "no compute capability to build for; allowed are .*SM86"),
        (BuildOptions(version_compatible=True), A4000, UsageError, "no version or hardware compatibility"),
        (BuildOptions(hardware_compatibility="same"), A4000, UsageError, "no version or hardware compatibility"),
    ],
)
def test_build_plan_refuses_options_that_the_library_lacks(
    rtx: TrtLibrary, small_member: Make, options: BuildOptions, on: Gpu | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build_plan(rtx, small_member(), options, on=on)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"capabilities": ("8.6",)}, "write SM86 for 8.6"),
        ({"capabilities": ("SM86", "SM86")}, "is listed twice"),
        ({"hardware_compatibility": "all"}, r"allowed are none, same, ampere\+"),
    ],
)
def test_build_options_refuse_invalid_values(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        BuildOptions(**options)


def test_load_library_gives_the_command_for_a_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(UnavailableError, match=r"TensorRT for RTX.*pip install 'braintumor\[rtx\]'"):
        load_library("tensorrt-rtx")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "raise ImportError('libnvinfer.so.11: cannot open shared object file')",
            "libnvinfer.so.11.*pypi.nvidia.com",
        ),
        ("raise FileNotFoundError('nvinfer_11.dll')", r"nvinfer_11\.dll"),
        ("__version__ = '11.4.0'", "installation is broken"),
        ("__version__ = '10.3.0'\nclass Builder: ...", "10.12 or newer, got 10.3.0; pip install --upgrade"),
    ],
)
def test_load_library_tells_broken_installations_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    (tmp_path / "tensorrt.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(UnavailableError, match=message):
        load_library("tensorrt")
    sys.modules.pop("tensorrt", None)


def test_load_library_refuses_an_unknown_library() -> None:
    with pytest.raises(UsageError, match="allowed are tensorrt, tensorrt-rtx"):
        load_library("tensorflow")


def test_build_plan_refuses_another_file_than_the_bundle_lists(
    rtx: TrtLibrary, small_member: Callable[..., Path]
) -> None:
    with pytest.raises(IntegrityError, match="changed while it was loaded"):
        build_plan(rtx, small_member(), AMPERE, sha256="0" * 64)
