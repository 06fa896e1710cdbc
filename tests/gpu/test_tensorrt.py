"""Plans on a real GPU: the answers of ONNX Runtime, at every batch size, beside each other, and in bounded memory."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from braintumor.bench.data.phantoms import phantoms
from braintumor.cache import CACHE_VARIABLE
from braintumor.errors import UnavailableError
from braintumor.export import ExportOptions, MemberOptions, VerificationImages, export_bundle
from braintumor.models.labels import CLASSES
from braintumor.runtime.bundle.load import Bundle, Member, load_bundle
from braintumor.runtime.bundle.probe import TOLERANCES
from braintumor.runtime.engines.onnxruntime import OnnxRuntimeCpuEngine
from braintumor.runtime.engines.tensorrt.engine import TensorRtEngine, TensorRtRtxEngine
from braintumor.runtime.ensemble import Ensemble

pytestmark = pytest.mark.gpu

ENGINES: Final = {"tensorrt": TensorRtEngine, "tensorrt-rtx": TensorRtRtxEngine}
MODULES: Final = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_MIB: Final = 1 << 20


@pytest.fixture(scope="session", params=list(ENGINES))
def engine(request: pytest.FixtureRequest) -> str:
    """An engine that this machine can use."""
    name = str(request.param)
    runtime = pytest.importorskip("cuda.bindings.runtime")
    error, count = runtime.cudaGetDeviceCount()
    if error != runtime.cudaError_t.cudaSuccess or not count:
        pytest.skip(f"no NVIDIA GPU: {error.name}")
    if importlib.util.find_spec(MODULES[name]) is None:
        pytest.skip(f"{name} is not installed")
    major, minor = pytest.importorskip("cuda.core").Device(0).compute_capability
    if name == "tensorrt-rtx" and f"SM{major}{minor}" == "SM90":
        pytest.skip("TensorRT for RTX does not build for SM90")
    return name


@pytest.fixture(scope="session", params=["fp32", "fp16"])
def bundle(
    request: pytest.FixtureRequest, small_keras: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """Three members of different sizes."""
    sizes = {"a": (32, 32), "b": (48, 40), "c": (40, 56)}
    members = tuple(
        MemberOptions(small_keras(name, size=size, seed=seed), name, 1.0 + seed, CLASSES)
        for seed, (name, size) in enumerate(sizes.items())
    )
    folder = tmp_path_factory.mktemp("bundles") / request.param
    images = VerificationImages((), 64)
    return export_bundle(ExportOptions(members, request.param, folder, "three", images, "by a test"))


@pytest.fixture
def device_memory() -> Callable[[], int]:
    """Bytes of the GPU's memory that are in use."""
    runtime = pytest.importorskip("cuda.bindings.runtime")

    def used() -> int:
        _, free, total = runtime.cudaMemGetInfo()
        return int(total - free)

    return used


def by_onnx_runtime(member: Member, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    with OnnxRuntimeCpuEngine(member) as reference:
        return reference.infer(images)


@pytest.mark.parametrize("count", [1, 8, 32, 5, 45])
def test_it_answers_what_onnx_runtime_answers_plainly_and_as_a_graph(engine: str, bundle: Bundle, count: int) -> None:
    for member in bundle.members:
        images = phantoms(count, member.height, member.width, seed=count)
        expected = by_onnx_runtime(member, images)
        with ENGINES[engine](member) as loaded:
            for _ in range(3):
                difference = np.abs(loaded.infer(images) - expected).max()
                assert difference <= TOLERANCES[member.precision], member.name
            assert loaded._runner is not None
            assert loaded._runner.graphs, "no batch was captured"


def test_a_graph_does_not_answer_with_the_images_of_the_batch_before(engine: str, bundle: Bundle) -> None:
    member = bundle.members[0]
    first, second = (phantoms(8, member.height, member.width, seed=seed) for seed in (1, 2))
    with ENGINES[engine](member) as loaded:
        loaded.infer(first)
        kept = loaded.infer(first)
        before = kept.copy()
        assert np.abs(loaded.infer(second) - by_onnx_runtime(member, second)).max() <= TOLERANCES[member.precision]
        np.testing.assert_array_equal(kept, before)


def test_graphs_of_several_sizes_do_not_disturb_each_other(engine: str, bundle: Bundle) -> None:
    member = bundle.members[1]
    images = phantoms(32, member.height, member.width, seed=6)
    expected = by_onnx_runtime(member, images)
    with ENGINES[engine](member) as loaded:
        for count in (1, 8, 32, 2, 16, 1, 32, 8, 3, 1):
            assert np.abs(loaded.infer(images[:count]) - expected[:count]).max() <= TOLERANCES[member.precision], (
                count
            )


def test_two_ensembles_beside_each_other_answer_as_one_alone(engine: str, bundle: Bundle) -> None:
    images = list(phantoms(40, 64, 64, seed=4))
    with Ensemble.load(bundle, engine=engine) as alone:
        expected = [record.probabilities for record in alone.predict_many(images)]
    with Ensemble.load(bundle, engine=engine) as left, Ensemble.load(bundle, engine=engine) as right:
        turns = zip(left.predict_many(images, batch_size=8), right.predict_many(images, batch_size=8), strict=True)
        for (first, second), probabilities in zip(turns, expected, strict=True):
            assert first.probabilities
            assert second.probabilities
            assert probabilities
            for name, value in probabilities.items():
                tolerance = TOLERANCES[bundle.precision]
                assert abs(first.probabilities[name] - value) <= tolerance
                assert abs(second.probabilities[name] - value) <= tolerance


def test_memory_stays_where_it_is_and_comes_back(
    engine: str, bundle: Bundle, device_memory: Callable[[], int]
) -> None:
    member = bundle.members[0]
    images = phantoms(32, member.height, member.width)

    def answered() -> int:
        with ENGINES[engine](member) as loaded:
            for count in (1, 2, 3, 8, 17, 32):
                loaded.infer(images[:count])
                loaded.infer(images[:count])
            settled = device_memory()
            for _ in range(50):
                loaded.infer(images)
            assert device_memory() - settled < 16 * _MIB
        return device_memory()

    # The first load also brings CUDA's own memory, which stays.
    first = answered()
    for _ in range(3):
        assert answered() - first < 64 * _MIB


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_second_start_takes_the_plan_and_the_kernels_from_the_cache(
    engine: str, bundle: Bundle, empty_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    member = bundle.members[0]
    images = phantoms(4, member.height, member.width)
    answers: list[Any] = []
    for _ in range(2):
        with ENGINES[engine](member) as loaded:
            answers.append(loaded.infer(images))
    assert len([log for log in caplog.records if "building its plan" in log.getMessage()]) == 1
    assert len(list(empty_cache.glob("tensorrt/*/model.plan"))) == 1
    np.testing.assert_allclose(answers[0], answers[1], atol=TOLERANCES[member.precision])


def test_a_plan_that_is_damaged_where_its_hash_does_not_tell_is_built_again(
    engine: str, bundle: Bundle, empty_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from braintumor.runtime.engines.tensorrt import engine as tensorrt

    real = tensorrt.plan_for
    monkeypatch.setattr(tensorrt, "plan_for", lambda *a, **k: (b"foreign" * 1000, real(*a, **k)[1]))
    member = bundle.members[0]
    images = phantoms(2, member.height, member.width)
    with ENGINES[engine](member) as loaded:
        assert np.abs(loaded.infer(images) - by_onnx_runtime(member, images)).max() <= TOLERANCES[member.precision]
    assert any("its plan does not load" in log.getMessage() for log in caplog.records)
    assert empty_cache.exists()


def test_a_gpu_that_is_not_there_is_said(engine: str, bundle: Bundle) -> None:
    with pytest.raises(UnavailableError, match="got device cuda:99; this machine has cuda:0"):
        ENGINES[engine](load_bundle(bundle.folder).members[0], device=99)
