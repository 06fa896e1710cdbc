"""The buffers call cuda-core and cuda-bindings as they are, on a device that is the host's memory."""

import ctypes
from collections.abc import Callable
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from braintumor.errors import OutOfMemoryError, UnavailableError
from braintumor.runtime.engines.tensorrt import cuda as gpu
from braintumor.runtime.engines.tensorrt import cuda_buffers
from braintumor.runtime.engines.tensorrt.cuda import Gpu, find_gpu
from braintumor.runtime.engines.tensorrt.cuda_buffers import PinnedCudaBuffers

A4000 = Gpu("NVIDIA RTX A4000", "580.65.6", "SM86")


Error = IntEnum(
    "Error",
    {
        "cudaSuccess": 0,
        "cudaErrorMemoryAllocation": 2,
        "cudaErrorInsufficientDriver": 35,
        "cudaErrorIllegalAddress": 700,
    },
)


class Closes:
    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class Buffer(Closes):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.memory = ctypes.create_string_buffer(b"\xaa" * size, size)
        self.handle = ctypes.addressof(self.memory)


class GraphBuilder(Closes):
    def __init__(self, cuda: "Cuda") -> None:
        super().__init__()
        self.cuda = cuda

    def begin_building(self, mode: str) -> None:
        assert mode == "thread_local"
        self.cuda.recording = []

    def end_building(self) -> None:
        self.recorded, self.cuda.recording = self.cuda.recording or [], None
        if self.cuda.invalid:
            raise RuntimeError("CUDA_ERROR_STREAM_CAPTURE_INVALIDATED")

    def complete(self) -> Any:
        graph = Closes()
        recorded = self.recorded
        graph.launch = lambda stream: [work() for work in recorded if stream is self.cuda.stream]  # type: ignore[attr-defined]
        self.cuda.graphs.append(graph)
        return graph


class Cuda:
    """As much of the two packages as the buffers use."""

    def __init__(self) -> None:
        self.buffers: list[Buffer] = []
        self.graphs: list[Any] = []
        self.recording: list[Callable[[], object]] | None = None
        self.invalid = False
        self.holds = 1 << 20
        self.fails = Error.cudaSuccess
        self.count: tuple[Error, int | None] = (Error.cudaSuccess, 2)
        self.stream = Closes()
        self.stream.handle = 77  # type: ignore[attr-defined]
        self.stream.sync = lambda: None  # type: ignore[attr-defined]
        self.stream.create_graph_builder = lambda: GraphBuilder(self)  # type: ignore[attr-defined]
        device = SimpleNamespace(
            set_current=lambda: None,
            create_stream=lambda: self.stream,
            allocate=lambda size, *, stream: self.allocate(size) if stream is self.stream else None,
            compute_capability=(8, 6),
            name="NVIDIA RTX A4000",
        )
        system = SimpleNamespace(get_kernel_mode_driver_version=lambda: (580, 65, 6))
        self.core = SimpleNamespace(
            Device=lambda index: device if index == 0 else None,
            LegacyPinnedMemoryResource=lambda: SimpleNamespace(allocate=self.allocate),
            system=system,
        )
        self.runtime = SimpleNamespace(
            cudaError_t=Error,
            cudaMemcpyKind=SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2),
            cudaMemcpyAsync=self.copy,
            cudaGetDeviceCount=lambda: self.count,
            cudaDriverGetVersion=lambda: (Error.cudaSuccess, 13010),
            CUDART_VERSION=13050,
        )

    def allocate(self, size: int) -> Buffer:
        if size > self.holds:
            raise RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: The API call failed")
        self.buffers.append(Buffer(size))
        return self.buffers[-1]

    def copy(self, target: int, source: int, size: int, kind: int, stream: int) -> tuple[Error]:
        assert (stream, kind in {1, 2}) == (77, True)
        work = lambda: ctypes.memmove(target, source, size)  # noqa: E731
        if self.recording is not None:
            self.recording.append(work)
        elif not self.fails:
            work()
        return (self.fails,)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    fake = Cuda()
    modules = {"cuda.core": fake.core, "cuda.bindings.runtime": fake.runtime}
    for module in (gpu, cuda_buffers):
        monkeypatch.setattr(module, "require", lambda name, **_: modules[name])
    return fake


@pytest.fixture
def buffers(cuda: Cuda) -> PinnedCudaBuffers:
    assert not cuda.buffers
    return PinnedCudaBuffers(A4000, 4, 2, 3, 5, extra="rtx")


def on_device(cuda: Cuda, index: int) -> bytes:
    return cuda.buffers[index].memory.raw


def test_buffers_allocate_once_for_the_largest_batch(cuda: Cuda, buffers: PinnedCudaBuffers) -> None:
    assert [len(buffer.memory.raw) for buffer in cuda.buffers] == [24, 80, 24, 80]
    assert (buffers.images.shape, buffers.images.dtype) == ((4, 2, 3), np.uint8)
    assert (buffers.probabilities.shape, buffers.probabilities.dtype) == ((4, 5), np.float32)
    assert not buffers.images.any()
    assert (buffers.images_address, buffers.probabilities_address) == (cuda.buffers[2].handle, cuda.buffers[3].handle)
    assert buffers.stream == 77


def test_upload_and_download_copy_a_batch(cuda: Cuda, buffers: PinnedCudaBuffers) -> None:
    buffers.images[:] = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    buffers.upload(2)
    assert on_device(cuda, 2) == bytes(range(12)) + b"\xaa" * 12
    answers = np.arange(20, dtype=np.float32).reshape(4, 5)
    ctypes.memmove(buffers.probabilities_address, answers.tobytes(), 80)
    before = buffers.probabilities[3].copy()
    buffers.download(3)
    np.testing.assert_array_equal(buffers.probabilities[:3], answers[:3])
    np.testing.assert_array_equal(buffers.probabilities[3], before)


def test_capture_records_work_for_every_launch(cuda: Cuda, buffers: PinnedCudaBuffers) -> None:
    launch = buffers.capture(lambda: buffers.upload(4))
    assert launch is not None
    assert on_device(cuda, 2) == b"\xaa" * 24
    for value in (1, 2):
        buffers.images[:] = value
        launch()
        assert on_device(cuda, 2) == bytes([value]) * 24


def test_capture_leaves_the_stream_as_it_was_when_it_fails(cuda: Cuda, buffers: PinnedCudaBuffers) -> None:
    cuda.invalid = True
    assert buffers.capture(lambda: buffers.upload(4)) is None

    def fail() -> None:
        raise UnavailableError("not in a capture")

    assert buffers.capture(fail) is None
    assert cuda.recording is None
    buffers.upload(4)
    assert on_device(cuda, 2) == bytes(24)


def test_close_frees_everything_once(cuda: Cuda, buffers: PinnedCudaBuffers) -> None:
    buffers.capture(lambda: buffers.upload(1))
    buffers.close()
    buffers.close()
    assert [resource.closed for resource in (*cuda.graphs, *cuda.buffers, cuda.stream)] == [1] * 6


def test_buffers_raise_out_of_memory(cuda: Cuda) -> None:
    cuda.holds = 30  # the images, and not the probabilities
    with pytest.raises(OutOfMemoryError, match="memory for 4 images was allocated"):
        PinnedCudaBuffers(A4000, 4, 2, 3, 5, extra="rtx")
    assert [resource.closed for resource in (*cuda.buffers, cuda.stream)] == [1, 1]


def test_upload_names_the_error_of_a_copy(cuda: Cuda, buffers: PinnedCudaBuffers) -> None:
    cuda.fails = Error.cudaErrorIllegalAddress
    with pytest.raises(RuntimeError, match="cudaMemcpyAsync of 6 bytes: cudaErrorIllegalAddress"):
        buffers.upload(1)


def test_find_gpu_describes_the_gpu(cuda: Cuda) -> None:
    assert find_gpu(0, extra="rtx") == A4000
    cuda.core.system.get_kernel_mode_driver_version = lambda: 1 / 0
    assert find_gpu(0, extra="rtx").driver == "CUDA 13.1"


@pytest.mark.parametrize(
    ("count", "index", "message"),
    [
        ((Error.cudaErrorInsufficientDriver, None), 0, "its driver is missing, or too old for CUDA 13"),
        ((Error.cudaSuccess, 0), 0, "none is there"),
        ((Error.cudaSuccess, 2), 2, "got device cuda:2; this machine has cuda:0, cuda:1"),
    ],
)
def test_find_gpu_refuses_unusable_gpu(cuda: Cuda, count: tuple[Error, int | None], index: int, message: str) -> None:
    cuda.count = count
    with pytest.raises(UnavailableError, match=message):
        find_gpu(index, extra="rtx")


def test_buffers_use_names_of_the_real_packages() -> None:
    core = pytest.importorskip("cuda.core")
    runtime = pytest.importorskip("cuda.bindings.runtime")
    assert all(
        hasattr(core.Device, name) for name in ("set_current", "create_stream", "allocate", "compute_capability")
    )
    assert all(hasattr(core.Stream, name) for name in ("create_graph_builder", "sync", "handle", "close"))
    assert all(
        hasattr(core.graph.GraphBuilder, name) for name in ("begin_building", "end_building", "complete", "close")
    )
    assert all(hasattr(core.graph.Graph, name) for name in ("launch", "close"))
    assert all(hasattr(core.Buffer, name) for name in ("handle", "close"))
    assert hasattr(core.LegacyPinnedMemoryResource, "allocate")
    assert hasattr(core.system, "get_kernel_mode_driver_version")
    # Addresses, a size, a kind and a stream's handle: refused for want of a GPU, and not for their types.
    stream = pytest.importorskip("cuda.bindings.driver").CUstream(0)
    (error,) = runtime.cudaMemcpyAsync(1, 2, 0, runtime.cudaMemcpyKind.cudaMemcpyHostToDevice, stream)
    assert isinstance(error, runtime.cudaError_t)
