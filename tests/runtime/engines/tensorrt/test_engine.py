"""The engine as an ensemble sees it: real plans, and a device on which ONNX Runtime computes."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from braintumor.bench.data.phantoms import phantoms
from braintumor.cache import Cache
from braintumor.errors import IntegrityError, OutOfMemoryError, UnavailableError
from braintumor.runtime.bundle.load import Member, load_bundle
from braintumor.runtime.engines.base import AsyncEngine
from braintumor.runtime.engines.onnxruntime import OnnxRuntimeCpuEngine
from braintumor.runtime.engines.tensorrt import engine as tensorrt
from braintumor.runtime.engines.tensorrt.cuda import Gpu
from braintumor.runtime.engines.tensorrt.engine import TensorRtEngine, TensorRtRtxEngine
from braintumor.runtime.engines.tensorrt.library import TrtLibrary
from braintumor.runtime.engines.tensorrt.load import LoadedPlan
from braintumor.runtime.engines.tensorrt.log import TrtLog
from braintumor.runtime.engines.tensorrt.plan_cache import PlanRequest, plan_for
from braintumor.runtime.engines.tensorrt.plan_file import PlanFacts
from braintumor.runtime.engines.tensorrt.profile import BatchProfile
from braintumor.runtime.ensemble import Ensemble

from .fakes import FakeContext, FakeCudaBuffers

pytestmark = pytest.mark.usefixtures("own_cache_of_the_test")

A4000 = Gpu("NVIDIA RTX A4000", "580.65.06", "SM86")


class Machine:
    """A GPU whose kernels ONNX Runtime computes, which holds so many images, and what was loaded on it."""

    def __init__(self) -> None:
        self.lanes: list[Any] = []
        self.loaded: list[PlanFacts] = []
        self.holds = 10_000
        self.refuses = 0
        self.compiled = b""
        self.compiled_given: list[bytes] = []

    def load(self, library: TrtLibrary, member: Member, plan: bytes, facts: PlanFacts, compiled: bytes = b"") -> Any:
        assert (library.name, len(plan)) == ("tensorrt-rtx", facts.plan_bytes)
        self.compiled_given.append(compiled)
        if self.refuses:
            self.refuses -= 1
            raise IntegrityError("it was built for other GPUs")
        session = ort.InferenceSession(member.path, providers=["CPUExecutionProvider"])
        self.loaded.append(facts)
        context = FakeContext(None, lambda images: session.run(None, {"image": images})[0])
        return LoadedPlan(context, lambda: self.compiled, TrtLog(), ())

    def buffers(self, gpu: Gpu, largest: int, height: int, width: int, classes: int, *, extra: str) -> Any:
        assert (gpu.capability, classes, extra) == ("SM86", 4, "rtx")
        if largest > self.holds:
            raise OutOfMemoryError(f"{largest} images do not fit")
        buffers = FakeCudaBuffers(largest, height, width)
        self.lanes.append(buffers)
        return buffers


@pytest.fixture
def machine(rtx: TrtLibrary, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(tensorrt, "find_gpu", lambda index, **_: replace(A4000, index=index))
    monkeypatch.setattr(tensorrt, "load_library", lambda _: rtx)
    monkeypatch.setattr(tensorrt, "load_plan", machine.load)
    monkeypatch.setattr(tensorrt, "PinnedCudaBuffers", machine.buffers)
    runs = tensorrt.PlanRunner

    def bound(context: Any, buffers: Any, *rest: Any) -> Any:
        context.buffers = buffers
        return runs(context, buffers, *rest)

    monkeypatch.setattr(tensorrt, "PlanRunner", bound)
    return machine


@pytest.mark.parametrize("count", [1, 7, 32, 45])
def test_engine_equals_onnx_runtime(machine: Machine, three: Path, count: int) -> None:
    for member in load_bundle(three).members:
        images = phantoms(count, member.height, member.width, seed=3)
        with OnnxRuntimeCpuEngine(member) as expected, TensorRtRtxEngine(member) as engine:
            assert isinstance(engine, AsyncEngine)
            for _ in range(2):
                assert np.abs(engine.infer(images) - expected.infer(images)).max() <= 1e-6
    assert [facts.profile for facts in machine.loaded] == [BatchProfile(1, 8, 32)] * 3


def test_members_infer_starts_all_engines_before_waiting(
    machine: Machine, three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not as many as the probe has, whose graph replays what it captured.
    images = phantoms(30, 64, 64, seed=1)
    with (
        Ensemble.load(three, engine="onnxruntime-cpu") as expected,
        Ensemble.load(three, engine="tensorrt-rtx") as it,
    ):
        order: list[str] = []
        for index, buffers in enumerate(machine.lanes):
            monkeypatch.setattr(buffers, "upload", _noted(order, f"start {index}", buffers.upload))
            monkeypatch.setattr(buffers, "wait", _noted(order, f"wait {index}", buffers.wait))
        plain = [record.probabilities for record in expected.predict_many(images)]
        predicted = [record.probabilities for record in it.predict_many(images)]
        assert [step for step in order if "start" in step][:3] == ["start 0", "start 1", "start 2"]
        assert order.index("wait 0") > order.index("start 2")
        assert [max(row, key=row.__getitem__) for row in predicted if row] == [
            max(row, key=row.__getitem__) for row in plain if row
        ]
        assert it.engine.name == "tensorrt-rtx"
        assert it.engine.provider == "TensorRT for RTX on NVIDIA RTX A4000"
        assert it.engine.device == "cuda:0"
        assert it.engine.version.startswith("tensorrt-rtx 1.")
    assert all(buffers.closed for buffers in machine.lanes)


def _noted(order: list[str], name: str, work: Callable[..., None]) -> Callable[..., None]:
    def noting(*arguments: Any) -> None:
        order.append(name)
        work(*arguments)

    return noting


def test_engine_takes_a_smaller_plan_on_a_small_gpu(
    machine: Machine, member: Member, caplog: pytest.LogCaptureFixture
) -> None:
    machine.holds = 9
    images = phantoms(20, member.height, member.width, seed=2)
    with OnnxRuntimeCpuEngine(member) as expected, TensorRtRtxEngine(member) as engine:
        assert np.abs(engine.infer(images) - expected.infer(images)).max() <= 1e-6
    assert [facts.profile.largest for facts in machine.loaded] == [32, 16, 8]
    assert machine.lanes[0].images.shape[0] == 8
    messages = [record.getMessage() for record in caplog.records if "going on" in record.getMessage()]
    assert messages == [
        f"{a} images do not fit; going on with a plan for {b} images at a time" for a, b in ((32, 16), (16, 8))
    ]


def test_engine_refuses_a_gpu_that_holds_no_image(machine: Machine, member: Member) -> None:
    machine.holds = 0
    with pytest.raises(OutOfMemoryError, match="1 images do not fit"):
        TensorRtRtxEngine(member)


def test_engine_rebuilds_a_plan_that_does_not_load_once(
    machine: Machine, rtx: TrtLibrary, member: Member, caplog: pytest.LogCaptureFixture
) -> None:
    plan_for(PlanRequest(member, rtx, A4000, BatchProfile(1, 8, 32)))
    machine.refuses = 1
    with TensorRtRtxEngine(member) as engine:
        assert engine.infer(phantoms(1, member.height, member.width)).shape == (1, 4)
    assert any(
        "its plan does not load (it was built for other GPUs)" in record.getMessage() for record in caplog.records
    )
    machine.refuses = 2
    with pytest.raises(IntegrityError, match="other GPUs"):
        TensorRtRtxEngine(member)


def test_close_stores_compiled_kernels_for_the_next_start(machine: Machine, member: Member) -> None:
    machine.compiled = b"kernels"
    for _ in range(2):
        with TensorRtRtxEngine(member):
            pass
    assert machine.compiled_given == [b"", b"kernels"]
    assert Cache("tensorrt-compiled").get_bytes("0" * 40) == b""


def test_close_frees_memory_and_infer_refuses_afterwards(machine: Machine, member: Member) -> None:
    engine = TensorRtRtxEngine(member)
    engine.close()
    engine.close()
    assert machine.lanes[0].closed
    with pytest.raises(ValueError, match="closed"):
        engine.infer(phantoms(1, member.height, member.width))


def test_engine_gives_the_command_for_a_missing_library(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(UnavailableError, match=r"no module 'tensorrt'.*pypi.nvidia.com 'braintumor\[tensorrt\]'"):
        TensorRtEngine(member)


def test_engine_refuses_a_machine_without_a_gpu(member: Member) -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime")
    if runtime.cudaGetDeviceCount()[0] == runtime.cudaError_t.cudaSuccess:
        pytest.skip("this machine has a GPU")
    with pytest.raises(UnavailableError, match=r"no NVIDIA GPU can be used here .*engine='onnxruntime-cpu'"):
        TensorRtRtxEngine(member)


def test_engine_keeps_no_plan_that_answers_otherwise_than_the_probe(
    machine: Machine, single: Path, own_cache_of_the_test: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (member,) = load_bundle(single).members
    probe = member.details["probe"]
    turned = probe | {"probabilities": [row[::-1] for row in probe["probabilities"]]}
    TensorRtRtxEngine(replace(member, details={**member.details, "probe": turned})).close()
    assert "does not answer as the bundle says" in caplog.text
    assert not list(own_cache_of_the_test.glob("tensorrt/*/*.plan"))
    TensorRtRtxEngine(member).close()
    assert len(list(own_cache_of_the_test.glob("tensorrt/*/*.plan"))) == 1
    assert len(machine.loaded) == 2
