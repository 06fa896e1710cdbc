"""What is wrong with a plan is found before it runs; the library is real where it needs no GPU, else small."""

from dataclasses import replace
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import pytest

from braintumor.errors import DeviceError, IntegrityError, OutOfMemoryError, UnavailableError
from braintumor.runtime.bundle.load import Member
from braintumor.runtime.engines.tensorrt.build import BuildOptions, build_plan
from braintumor.runtime.engines.tensorrt.library import TrtLibrary
from braintumor.runtime.engines.tensorrt.load import load_plan
from braintumor.runtime.engines.tensorrt.plan_file import PlanFacts
from braintumor.runtime.engines.tensorrt.profile import BatchProfile

BITS = {
    "VERSION_MISMATCH": 1,
    "UNSUPPORTED_CC": 2,
    "OLD_CUDA_DRIVER": 4,
    "OLD_CUDA_RUNTIME": 8,
    "INSUFFICIENT_GPU_MEMORY": 16,
    "MALFORMED_ENGINE": 32,
    "CUDA_ERROR": 64,
}


class Validity(IntEnum):
    VALID = 0
    SUBOPTIMAL = 1
    INVALID = 2


class FakeEngine:
    """A loaded engine of one input and one output."""

    def __init__(self, member: Member, profile: tuple[int, int, int] = (1, 8, 32)) -> None:
        self.tensors = {
            "image": ("INPUT", "UINT8", (-1, member.height, member.width)),
            "probabilities": ("OUTPUT", "FLOAT", (-1, 4)),
        }
        self.profile = profile
        self.context: Any = object()
        self.num_io_tensors = 2

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> Any:
        return SimpleNamespace(name=self.tensors[name][0])

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name=self.tensors[name][1])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name][2]

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        assert index == 0
        return [(batch, *self.tensors[name][2][1:]) for batch in self.profile]

    def create_execution_context(self) -> Any:
        return self.context


class FakeLogger:
    Severity = SimpleNamespace(ERROR=1, INTERNAL_ERROR=0)

    def __init__(self) -> None: ...

    def log(self, severity: int, message: str) -> None: ...


def library_with(engine: FakeEngine | None, *, says: str = "", invalid: int | None = None) -> TrtLibrary:
    """TensorRT, of which a plan becomes that engine, or None and a line in the log."""

    class Runtime:
        def __init__(self, logger: FakeLogger) -> None:
            self.logger = logger
            if invalid is not None:
                self.get_engine_validity = lambda _: (Validity.INVALID, invalid)

        def deserialize_cuda_engine(self, plan: bytes) -> FakeEngine | None:
            assert plan == b"plan"
            if says:
                self.logger.log(1, says)
            return engine

    trt = SimpleNamespace(
        ILogger=FakeLogger,
        Runtime=Runtime,
        EngineValidity=Validity,
        EngineInvalidityDiagnostics=SimpleNamespace(__members__=BITS),
    )
    return TrtLibrary("tensorrt", "TensorRT", trt, "11.4.0")


@pytest.fixture
def facts(rtx: TrtLibrary, small_member: Any) -> PlanFacts:
    return build_plan(rtx, small_member(), BuildOptions(capabilities=("SM86",))).facts


def test_load_plan_takes_a_plan_of_the_member(member: Member, facts: PlanFacts) -> None:
    engine = FakeEngine(member)
    loaded = load_plan(library_with(engine), member, b"plan", facts)
    assert loaded.context is engine.context
    assert loaded.compiled() == b""


@pytest.mark.parametrize(
    ("says", "kind"),
    [
        ("IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Magic tag does not match)", IntegrityError),
        ("Error Code 1: Cuda Runtime (In x at /_src/a.cpp:58 (cudaError 2: out of memory))", OutOfMemoryError),
    ],
)
def test_load_plan_raises_by_reason(member: Member, facts: PlanFacts, says: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="does not load"):
        load_plan(library_with(None, says=says), member, b"plan", facts)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("MALFORMED_ENGINE", IntegrityError, "it is damaged"),
        ("VERSION_MISMATCH", IntegrityError, "another version of the library built it"),
        ("UNSUPPORTED_CC", IntegrityError, "it was built for other GPUs"),
        ("INSUFFICIENT_GPU_MEMORY", OutOfMemoryError, "not enough memory"),
        ("OLD_CUDA_DRIVER", DeviceError, "driver is too old"),
    ],
)
def test_load_plan_refuses_a_plan_that_tensorrt_for_rtx_finds_invalid(
    member: Member, facts: PlanFacts, name: str, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        load_plan(library_with(FakeEngine(member), invalid=BITS[name]), member, b"plan", facts)
    assert type(caught.value) is kind


def test_load_plan_refuses_a_plan_of_another_member(member: Member, facts: PlanFacts) -> None:
    engine = FakeEngine(replace(member, height=member.height + 8))
    with pytest.raises(IntegrityError, match=r"takes \[image uint8 .*not one image of uint8"):
        load_plan(library_with(engine), member, b"plan", facts)
    engine = FakeEngine(member)
    engine.tensors["probabilities"] = ("OUTPUT", "HALF", (-1, 4))
    with pytest.raises(IntegrityError, match=r"gives \[probabilities float16"):
        load_plan(library_with(engine), member, b"plan", facts)


def test_load_plan_refuses_other_batch_sizes_than_the_sidecar(member: Member, facts: PlanFacts) -> None:
    engine = FakeEngine(member, profile=(1, 2, 4))
    with pytest.raises(IntegrityError, match=r"runs batches of \(1, 2, 4\); its sidecar says \(1, 8, 32\)"):
        load_plan(library_with(engine), member, b"plan", facts)
    loaded = load_plan(library_with(engine), member, b"plan", replace(facts, profile=BatchProfile(1, 2, 4)))
    assert loaded.context is engine.context


def test_load_plan_raises_when_there_is_no_memory_for_the_largest_batch(member: Member, facts: PlanFacts) -> None:
    engine = FakeEngine(member)
    engine.context = None
    with pytest.raises(UnavailableError, match="no memory for batches of 32"):
        load_plan(library_with(engine), member, b"plan", facts)


def test_load_plan_of_the_real_library_needs_a_gpu(rtx: TrtLibrary, member: Member) -> None:
    if _has_gpu():
        pytest.skip("this machine has a GPU")
    plan = build_plan(rtx, member.path, BuildOptions(capabilities=("SM86",)))
    with pytest.raises(UnavailableError, match=r"does not load \(there is no NVIDIA driver, or one.*nvidia-smi"):
        load_plan(rtx, member, plan.data, plan.facts)


@pytest.mark.parametrize("content", [b"x", b"a foreign plan" * 1000])
def test_load_plan_of_the_real_library_refuses_foreign_bytes(
    rtx: TrtLibrary, member: Member, facts: PlanFacts, content: bytes
) -> None:
    with pytest.raises(IntegrityError, match="it is damaged"):
        load_plan(rtx, member, content, facts)


def _has_gpu() -> bool:
    runtime = pytest.importorskip("cuda.bindings.runtime")
    return bool(runtime.cudaGetDeviceCount()[0] == runtime.cudaError_t.cudaSuccess)
