"""The OpenVINO engine answers what ONNX Runtime answers, in float32 whatever the CPU could do."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest

from braintumor.bench.data.phantoms import phantoms
from braintumor.cache import CACHE_VARIABLE
from braintumor.errors import IntegrityError, UnavailableError
from braintumor.export import MemberOptions
from braintumor.models.labels import CLASSES
from braintumor.runtime.bundle.load import Member, load_bundle
from braintumor.runtime.bundle.probe import TOLERANCES
from braintumor.runtime.engines import openvino as openvino_engine
from braintumor.runtime.engines.onnxruntime import OnnxRuntimeCpuEngine
from braintumor.runtime.engines.openvino import OpenVinoCpuEngine
from braintumor.runtime.engines.signal_stack import signal_stack
from braintumor.runtime.ensemble import Ensemble
from braintumor.system.cpu import computes_bfloat16, saturates_int8
from tests.support.bundles import export_members

pytest.importorskip("openvino")


def blobs(cache: Path) -> list[Path]:
    return sorted(cache.glob("openvino/*/model.blob"))


def answers(member: Member, count: int = 5) -> Any:
    with OpenVinoCpuEngine(member, threads=1) as engine:
        return engine.infer(phantoms(count, member.height, member.width, seed=9))


@pytest.mark.parametrize("count", [1, 7, 32])
def test_infer_equals_onnx_runtime(three: Path, count: int) -> None:
    for member in load_bundle(three).members:
        images = phantoms(count, member.height, member.width, seed=3)
        with OnnxRuntimeCpuEngine(member) as expected, OpenVinoCpuEngine(member) as engine:
            difference = np.abs(engine.infer(images) - expected.infer(images)).max()
        assert difference <= 1e-5


def test_engine_computes_fp16_weights_in_float32(half: Path) -> None:
    member = load_bundle(half).members[0]
    images = phantoms(7, member.height, member.width, seed=3)
    with OnnxRuntimeCpuEngine(member) as expected, OpenVinoCpuEngine(member) as engine:
        assert np.abs(engine.infer(images) - expected.infer(images)).max() <= 5e-3


@pytest.mark.slow
@pytest.mark.parametrize("narrow", [True, False])
def test_infer_answers_int8_alike_at_every_batch_size(
    shipped_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, narrow: bool
) -> None:
    if not narrow and saturates_int8():
        pytest.skip("this CPU has no VNNI")
    monkeypatch.setattr(openvino_engine, "saturates_int8", lambda: narrow)
    options = MemberOptions(shipped_model, "DenseNet121", 1.0, CLASSES)
    member = load_bundle(export_members(tmp_path / "int8", [options], "int8")).members[0]
    images = phantoms(32, member.height, member.width, seed=3)
    with OnnxRuntimeCpuEngine(member) as expected, OpenVinoCpuEngine(member) as engine:
        answers = expected.infer(images)
        for count in (1, 2, 7, 32):
            assert np.abs(engine.infer(images[:count]) - answers[:count]).max() <= 0.1
        assert ("7 bits" in engine.info.provider) == narrow


def test_engine_computes_bf16_natively_where_the_cpu_has_it(brain_float: Path) -> None:
    member = load_bundle(brain_float).members[0]
    images = phantoms(7, member.height, member.width, seed=3)
    with OnnxRuntimeCpuEngine(member) as expected, OpenVinoCpuEngine(member) as engine:
        difference = np.abs(engine.infer(images) - expected.infer(images)).max()
    if computes_bfloat16():
        assert engine.info.provider == "OpenVINO CPU bf16"
        assert 1e-6 < difference <= TOLERANCES["bf16"]
    else:
        assert engine.info.provider == "OpenVINO CPU, bf16 computed in f32"
        assert difference <= 1e-5


@pytest.mark.parametrize(("rest", "native"), [("bf16", True), ("fp32", False)])
def test_engine_computes_the_float_part_of_int8_as_exported(member: Member, rest: str, *, native: bool) -> None:
    int8 = dataclasses.replace(member, precision="int8", details={**member.details, "quantisation": {"rest": rest}})
    assert int8.float_precision == rest
    with OpenVinoCpuEngine(int8) as engine:
        assert engine.info.provider.startswith("OpenVINO CPU bf16") == (native and computes_bfloat16())


class _Boastful(OpenVinoCpuEngine):
    """Reports, as a virtual machine may, a precision that nothing can be compiled for."""

    natively: ClassVar = {"bf16": ("FP32", "f64")}


def test_engine_computes_in_float32_where_a_precision_does_not_compile(brain_float: Path) -> None:
    member = load_bundle(brain_float).members[0]
    images = phantoms(7, member.height, member.width, seed=3)
    with OnnxRuntimeCpuEngine(member) as expected, _Boastful(member) as engine:
        assert engine.info.provider == "OpenVINO CPU, bf16 computed in f32"
        assert np.abs(engine.infer(images) - expected.infer(images)).max() <= 1e-5


def test_engine_info_is_read_back(single: Path) -> None:
    with Ensemble.load(single, engine="openvino-cpu") as ensemble:
        record = ensemble.predict(phantoms(1, 64, 64)[0])
    assert record.engine["name"] == "openvino-cpu"
    assert record.engine["provider"] == "OpenVINO CPU"
    assert record.engine["device"] == "cpu"
    assert record.engine["version"].startswith("openvino 20")


@pytest.mark.skipif(sys.platform != "linux", reason="signal stacks are looked at on Linux")
def test_engine_leaves_the_signal_stack(member: Member) -> None:
    before = signal_stack()
    with OpenVinoCpuEngine(member) as engine:
        engine.infer(phantoms(32, member.height, member.width))
        assert signal_stack() == before
    assert signal_stack() == before


def test_infer_returns_copies(member: Member) -> None:
    first, second = phantoms(2, member.height, member.width)[:, np.newaxis]
    with OpenVinoCpuEngine(member) as engine:
        probabilities = engine.infer(first)
        before = probabilities.copy()
        assert not np.array_equal(engine.infer(second), before)
        assert np.array_equal(probabilities, before)


@pytest.mark.parametrize(("count", "compiled"), [(1, 1), (5, 2)])
def test_second_engine_loads_the_compiled_models(
    member: Member, own_cache_of_the_test: Path, count: int, compiled: int
) -> None:
    first = answers(member, count)
    written = {blob: blob.stat().st_mtime_ns for blob in blobs(own_cache_of_the_test)}
    # One for single images, and one for batches when there is one.
    assert len(written) == compiled
    assert np.array_equal(answers(member, count), first)
    assert {blob: blob.stat().st_mtime_ns for blob in blobs(own_cache_of_the_test)} == written


def test_engine_rebuilds_damaged_compiled_models(member: Member, own_cache_of_the_test: Path) -> None:
    first = answers(member)
    for blob in blobs(own_cache_of_the_test):
        blob.write_bytes(b"damage")
    assert np.array_equal(answers(member), first)
    assert b"damage" not in [blob.read_bytes() for blob in blobs(own_cache_of_the_test)]


def test_engine_works_without_a_cache(member: Member, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = answers(member)
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    assert np.array_equal(answers(member), expected)


def test_engine_refuses_a_file_that_is_not_a_model(handmade: Any) -> None:
    model = onnx.ModelProto(ir_version=9, graph=onnx.GraphProto(name="x")).SerializeToString()
    with pytest.raises(IntegrityError, match=r"export the bundle again|does not load in openvino"):
        OpenVinoCpuEngine(load_bundle(handmade(model)).members[0])


def test_engine_refuses_a_graph_of_another_size(handmade: Any, graph: Callable[..., onnx.ModelProto]) -> None:
    with pytest.raises(IntegrityError, match=r"takes .*24.*not one image of uint8 \[batch, 16, 16\]"):
        OpenVinoCpuEngine(load_bundle(handmade(graph(height=24))).members[0])


def test_engine_gives_the_command_for_a_missing_package(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UnavailableError, match=r"pip install 'braintumor\[openvino\]'"):
        OpenVinoCpuEngine(member)


def test_infer_splits_a_large_batch_in_order(member: Member) -> None:
    images = phantoms(37, member.height, member.width, seed=6)
    with OpenVinoCpuEngine(member) as engine:
        one_by_one = np.concatenate([engine.infer(image[np.newaxis]) for image in images])
        together = engine.infer(images)
    assert np.abs(together - one_by_one).max() <= 1e-5


def test_gpu_engine_refuses_a_missing_gpu(single: Path) -> None:
    openvino = pytest.importorskip("openvino")
    if any(name.startswith("GPU") for name in openvino.Core().available_devices):
        pytest.skip("this machine has one")
    with pytest.raises(UnavailableError, match=r"needs OpenVINO's device GPU.*install the driver"):
        Ensemble.load(single, engine="openvino-gpu")
