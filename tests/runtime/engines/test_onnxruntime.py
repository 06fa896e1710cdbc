"""The ONNX Runtime engines: what they run on is what they say, and the cache never decides an answer."""

import dataclasses
import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from braintumor.bench.data.phantoms import phantoms
from braintumor.cache import CACHE_VARIABLE
from braintumor.errors import IntegrityError, UnavailableError
from braintumor.runtime.bundle.load import Member, load_bundle
from braintumor.runtime.engines.onnxruntime import OnnxRuntimeCpuEngine, OnnxRuntimeCudaEngine

IMAGES = phantoms(5, 32, 32, seed=9)


def optimised(cache: Path) -> list[Path]:
    return sorted(cache.glob("onnxruntime/*/model.onnx"))


def answers(member: Member) -> Any:
    with OnnxRuntimeCpuEngine(member, threads=1) as engine:
        return engine.infer(IMAGES)


def test_infer_gives_softmax(member: Member) -> None:
    with OnnxRuntimeCpuEngine(member) as engine:
        probabilities = engine.infer(IMAGES)
        assert engine.info.name == "onnxruntime-cpu"
        assert engine.info.provider == "CPUExecutionProvider"
        assert engine.info.device == "cpu"
        assert engine.info.version.startswith("onnxruntime 1.")
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (5, 4)
    assert np.abs(probabilities.sum(axis=1) - 1).max() < 1e-6


def test_second_engine_loads_the_cached_graph(member: Member, own_cache_of_the_test: Path) -> None:
    first = answers(member)
    (graph,) = optimised(own_cache_of_the_test)
    written = graph.stat().st_mtime_ns
    second = answers(member)
    assert optimised(own_cache_of_the_test) == [graph]
    assert graph.stat().st_mtime_ns == written
    assert np.array_equal(first, second)


def test_engine_rebuilds_a_damaged_graph(member: Member, own_cache_of_the_test: Path) -> None:
    first = answers(member)
    (graph,) = optimised(own_cache_of_the_test)
    good = graph.stat().st_size
    graph.write_bytes(b"damage")
    assert np.array_equal(answers(member), first)
    assert optimised(own_cache_of_the_test) == [graph]
    assert graph.stat().st_size == good


def test_engine_takes_no_graph_of_another_member(three: Path, own_cache_of_the_test: Path) -> None:
    for member in load_bundle(three).members:
        OnnxRuntimeCpuEngine(member).close()
    assert len(optimised(own_cache_of_the_test)) == 3


def test_engine_works_without_a_cache(member: Member, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = answers(member)
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    assert np.array_equal(answers(member), expected)


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="giving files away needs root")
def test_engine_ignores_a_cache_of_another_user(member: Member, own_cache_of_the_test: Path) -> None:
    expected = answers(member)
    (graph,) = optimised(own_cache_of_the_test)
    graph.write_bytes(b"theirs")
    os.chown(own_cache_of_the_test / "onnxruntime", 12345, -1)
    assert np.array_equal(answers(member), expected)
    assert graph.read_bytes() == b"theirs"


def test_engine_works_when_the_disk_of_the_cache_is_full(
    member: Member, tiny_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = answers(member)
    monkeypatch.setenv(CACHE_VARIABLE, str(tiny_disk / "cache"))
    (tiny_disk / "filler").write_bytes(b"\0" * 60_000)
    assert np.array_equal(answers(member), expected)


def test_close_works_twice(member: Member) -> None:
    engine = OnnxRuntimeCpuEngine(member)
    engine.close()
    engine.close()


def test_cuda_engine_refuses_the_cpu_package(member: Member) -> None:
    ort = pytest.importorskip("onnxruntime")
    if OnnxRuntimeCudaEngine.provider in ort.get_available_providers():
        pytest.skip("onnxruntime-gpu is installed here")
    with pytest.raises(UnavailableError, match=r"CUDAExecutionProvider.*has .*CPU.*pip install 'braintumor\[gpu\]'"):
        OnnxRuntimeCudaEngine(member)


@pytest.fixture
def falling_back(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """An onnxruntime-gpu on a machine without a GPU: offers CUDA, and creates sessions on the CPU."""
    sessions: list[Any] = []

    class Session:
        def __init__(self, path: str, options: Any, providers: list[Any]) -> None:
            sessions.append((path, providers))
            if options.optimized_model_filepath:
                Path(options.optimized_model_filepath).write_bytes(b"optimised for the CPU")

        def get_providers(self) -> list[str]:
            return ["CPUExecutionProvider"]

    class Options:
        optimized_model_filepath = ""

        def add_session_config_entry(self, *_entry: str) -> None: ...

    fake: Any = types.ModuleType("onnxruntime")
    fake.__version__ = "1.99.0"
    fake.InferenceSession, fake.SessionOptions = Session, Options
    fake.GraphOptimizationLevel = types.SimpleNamespace(ORT_DISABLE_ALL=0)
    fake.get_available_providers = lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    return sessions


def test_cuda_engine_refuses_a_fall_back_to_the_cpu(
    member: Member, own_cache_of_the_test: Path, falling_back: list[Any]
) -> None:
    with pytest.raises(UnavailableError, match=r"to CPUExecutionProvider.*nvidia-smi.*onnxruntime-cpu"):
        OnnxRuntimeCudaEngine(member, device=1)
    options = {"device_id": 1, "use_tf32": 0, "enable_cuda_graph": 1}
    assert falling_back[0][1] == [("CUDAExecutionProvider", options)]
    assert optimised(own_cache_of_the_test) == []


def test_cuda_engine_runs_without_a_graph_where_none_can_be_captured(
    member: Member, falling_back: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    class Session(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, path: str, options: Any, providers: list[Any]) -> None:
            super().__init__(path, options, providers)
            if "enable_cuda_graph" in providers[0][1]:
                raise RuntimeError("not all nodes have been partitioned to the CUDAExecutionProvider")

        def get_providers(self) -> list[str]:
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

        def get_inputs(self) -> list[Any]:
            return [
                types.SimpleNamespace(name="image", type="tensor(uint8)", shape=["n", member.height, member.width])
            ]

        def get_outputs(self) -> list[Any]:
            return [types.SimpleNamespace(name="probabilities", type="tensor(float)", shape=["n", 4])]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    # Without a GPU nothing runs, and so no probe.
    with OnnxRuntimeCudaEngine(dataclasses.replace(member, probe=None)) as engine:
        assert engine.info.provider == "CUDAExecutionProvider"
        assert engine.info.device == "cuda:0"
    assert "enable_cuda_graph" not in falling_back[-1][1][0][1]


def test_engine_refuses_a_broken_installation(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is left when one of onnxruntime and onnxruntime-gpu was removed: a folder without contents.
    monkeypatch.setitem(sys.modules, "onnxruntime", types.ModuleType("onnxruntime"))
    with pytest.raises(UnavailableError, match="installation is broken; pip uninstall onnxruntime onnxruntime-gpu"):
        OnnxRuntimeCpuEngine(member)


def test_engine_gives_the_command_for_a_missing_package(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UnavailableError, match=r"pip install 'braintumor\[cpu\]'"):
        OnnxRuntimeCpuEngine(member)


def test_engine_refuses_bytes_that_are_not_a_model(handmade: Any) -> None:
    model = onnx.ModelProto(ir_version=9, graph=onnx.GraphProto(name="x")).SerializeToString()
    with pytest.raises(IntegrityError, match=r"does not load in onnxruntime.*export the bundle again"):
        OnnxRuntimeCpuEngine(load_bundle(handmade(model)).members[0])


def renamed_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = model.graph.node[-1].output[0] = "logits2"


def three_classes(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3
    rest = helper.make_tensor("rest", TensorProto.FLOAT, [1, 2], [1.0, 2.0])
    model.graph.initializer[0].CopyFrom(rest)


def float_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def second_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4]))


@pytest.mark.parametrize("change", [renamed_output, three_classes, float_input, second_output])
def test_engine_refuses_a_graph_that_is_not_a_member(
    handmade: Any, graph: Callable[..., onnx.ModelProto], change: Callable[[onnx.ModelProto], None]
) -> None:
    model = graph()
    change(model)
    with pytest.raises(IntegrityError, match=r"(takes|gives) \[.*export the bundle again"):
        OnnxRuntimeCpuEngine(load_bundle(handmade(model)).members[0])


def test_engine_refuses_a_graph_of_another_size(handmade: Any, graph: Any) -> None:
    with pytest.raises(IntegrityError, match=r"takes .*24.*not one image of uint8 \[batch, 16, 16\]"):
        OnnxRuntimeCpuEngine(load_bundle(handmade(graph(height=24))).members[0])


@pytest.fixture
def failing(handmade: Any, graph: Any) -> Iterator[OnnxRuntimeCpuEngine]:
    model = graph()
    reshape = next(node for node in model.graph.node if node.op_type == "Reshape")
    shape = next(node for node in model.graph.node if node.output[0] == reshape.input[1])
    # Fits one image only, which no shape inference can see.
    shape.attribute[0].t.CopyFrom(helper.make_tensor("v", TensorProto.INT64, [2], [1, 1]))
    del model.graph.value_info[:]
    with OnnxRuntimeCpuEngine(load_bundle(handmade(model)).members[0]) as engine:
        yield engine


def test_infer_raises_our_error_when_it_fails(failing: OnnxRuntimeCpuEngine) -> None:
    with pytest.raises(UnavailableError, match=r"onnxruntime-cpu failed on 3 images.*smaller `batch_size`"):
        failing.infer(np.zeros((3, 16, 16), np.uint8))
