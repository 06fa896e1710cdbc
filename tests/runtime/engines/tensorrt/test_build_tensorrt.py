"""What TensorRT itself is asked for: it builds on a GPU only, so its builder is a small one that takes notes."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from braintumor.errors import UnavailableError, UsageError
from braintumor.runtime.engines.tensorrt.build import BuildOptions, Plan, build_plan
from braintumor.runtime.engines.tensorrt.cuda import Gpu
from braintumor.runtime.engines.tensorrt.library import TrtLibrary
from braintumor.runtime.engines.tensorrt.profile import BatchProfile

H200 = Gpu("NVIDIA H200", "580.65.06", "SM90")


class Tensor:
    def __init__(self, name: str, kind: str, shape: tuple[int, ...]) -> None:
        self.name, self.shape, self.dtype = name, shape, SimpleNamespace(name=kind)


class Network:
    num_inputs = num_outputs = 1

    def get_input(self, _: int) -> Tensor:
        return Tensor("image", "UINT8", (-1, 16, 16))

    def get_output(self, _: int) -> Tensor:
        return Tensor("probabilities", "FLOAT", (-1, 4))


class Cache:
    def __init__(self, blob: bytes) -> None:
        self.blob = blob

    def serialize(self) -> bytes:
        return self.blob


class Config:
    """Knows the timings of its own version only."""

    def __init__(self) -> None:
        self.flags = {"TF32"}
        self.hardware_compatibility_level = "NONE"
        self.shapes: tuple[Any, ...] = ()
        self.cache: Cache | None = None
        self.started_with = b"?"

    def set_flag(self, flag: str) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: str) -> None:
        self.flags.discard(flag)

    def create_timing_cache(self, blob: bytes) -> Cache | None:
        return None if blob == b"garbage" else Cache(blob)

    def set_timing_cache(self, cache: Cache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if cache.blob.startswith(b"old"):
            return False
        self.cache, self.started_with = cache, cache.blob
        return True

    def get_timing_cache(self) -> Cache | None:
        return self.cache

    def add_optimization_profile(self, profile: list[Any]) -> int:
        self.shapes = tuple(profile)
        return 0


class TensorRt:
    """The part of the module that a build needs."""

    ILogger = type("ILogger", (), {"Severity": SimpleNamespace(ERROR=1, INTERNAL_ERROR=0)})
    BuilderFlag = SimpleNamespace(TF32="TF32", VERSION_COMPATIBLE="VERSION_COMPATIBLE")
    NetworkDefinitionCreationFlag = SimpleNamespace()
    HardwareCompatibilityLevel = SimpleNamespace(NONE="NONE", AMPERE_PLUS="AMPERE_PLUS")

    def __init__(self) -> None:
        self.config = Config()
        self.network_flags: list[int] = []
        self.starts = True
        outer = self

        class Builder:
            def __init__(self, logger: Any) -> None:
                if not outer.starts:
                    logger.log(1, "CUDA initialization failure with error: 35 (cudaError 35: driver)")
                    raise TypeError("pybind11::init(): factory function returned nullptr")

            def create_network(self, flags: int) -> Network:
                outer.network_flags.append(flags)
                return Network()

            def create_builder_config(self) -> Config:
                return outer.config

            def create_optimization_profile(self) -> Any:
                profiles: list[Any] = []
                return type("Profile", (list,), {"set_shape": lambda it, *shapes: it.extend(shapes)})(profiles)

            def build_serialized_network(self, _: Network, config: Config) -> bytes:
                assert config.cache is not None
                config.cache.blob += b"+timed"
                return b"a plan"

        self.Builder = Builder
        self.OnnxParser = lambda *_: SimpleNamespace(parse=lambda _: True)


@pytest.fixture
def trt() -> TensorRt:
    return TensorRt()


@pytest.fixture
def build(trt: TensorRt, tmp_path: Path) -> Callable[..., Plan]:
    (tmp_path / "m.onnx").write_bytes(b"a model")

    def make(options: BuildOptions | None = None, *, on: Gpu | None = H200, timing: bytes = b"") -> Plan:
        library = TrtLibrary("tensorrt", "TensorRT", trt, "11.4.0")
        return build_plan(library, tmp_path / "m.onnx", options or BuildOptions(), on=on, timing=timing)

    return make


def test_build_plan_switches_off_tf32_only(trt: TensorRt, build: Callable[..., Plan]) -> None:
    plan = build(BuildOptions(BatchProfile(1, 4, 16)))
    assert trt.config.flags == set()
    assert trt.config.hardware_compatibility_level == "NONE"
    assert trt.config.shapes == ("image", (1, 16, 16), (4, 16, 16), (16, 16, 16))
    assert plan.data == b"a plan"
    assert plan.facts.compute_capabilities == ("SM90",)
    assert (plan.facts.gpu, plan.facts.driver) == (H200.name, H200.driver)


@pytest.mark.parametrize(("flag", "expected"), [(None, 0), (1, 2)])
def test_build_plan_makes_strongly_typed_networks(
    trt: TensorRt, build: Callable[..., Plan], flag: int | None, expected: int
) -> None:
    """TensorRT 10 needs the flag; 11 types every network strongly."""
    names = {} if flag is None else {"STRONGLY_TYPED": flag}
    trt.NetworkDefinitionCreationFlag = SimpleNamespace(**names)
    build()
    assert trt.network_flags == [expected]


@pytest.mark.parametrize(
    ("timing", "started_with"), [(b"", b""), (b"timings", b"timings"), (b"old timings", b""), (b"garbage", b"")]
)
def test_build_plan_uses_fitting_timings_only(
    trt: TensorRt, build: Callable[..., Plan], timing: bytes, started_with: bytes
) -> None:
    assert build(timing=timing).timing == started_with + b"+timed"
    assert trt.config.started_with == started_with


def test_build_plan_sets_and_records_compatibility(trt: TensorRt, build: Callable[..., Plan]) -> None:
    plan = build(BuildOptions(version_compatible=True, hardware_compatibility="ampere+"))
    assert trt.config.flags == {"VERSION_COMPATIBLE"}
    assert trt.config.hardware_compatibility_level == "AMPERE_PLUS"
    assert (plan.facts.version_compatible, plan.facts.hardware_compatibility) == (True, "ampere+")


def test_build_plan_refuses_a_compatibility_that_this_version_lacks(build: Callable[..., Plan]) -> None:
    with pytest.raises(UsageError, match=r"11\.4\.0 has no hardware compatibility 'same'"):
        build(BuildOptions(hardware_compatibility="same"))


def test_build_plan_of_tensorrt_refuses_compute_capabilities(build: Callable[..., Plan]) -> None:
    with pytest.raises(UsageError, match=r"builds for the GPU that is here, not for SM86.*tensorrt-rtx"):
        build(BuildOptions(capabilities=("SM86",)))


def test_build_plan_of_tensorrt_needs_a_gpu(trt: TensorRt, build: Callable[..., Plan]) -> None:
    with pytest.raises(UnavailableError, match="builds only where a GPU is"):
        build(on=None)
    trt.starts = False
    with pytest.raises(UnavailableError, match=r"TensorRT 11.4.0 does not start \(there is no NVIDIA driver"):
        build()
