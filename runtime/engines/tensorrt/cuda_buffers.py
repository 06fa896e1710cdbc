"""A CUDA stream and the memory of one engine: pinned on the host, and on the device, for its largest batch."""

import contextlib
import ctypes
import functools
import logging
from collections.abc import Callable
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from braintumor.optional import require
from braintumor.runtime.engines.closing import Closing
from braintumor.runtime.engines.tensorrt.cuda import Gpu, gpu_failures

__all__ = ["CudaBuffers", "PinnedCudaBuffers"]

_LOG: Final = logging.getLogger("braintumor")


class CudaBuffers(Protocol):
    """The memory of a plan's input and output, and the stream on which it runs.

    Attributes:
        images: uint8 [largest batch, height, width], pinned: the GPU reads it while the host goes on.
        probabilities: float32 [largest batch, classes], pinned.
        images_address: Of the images on the device.
        probabilities_address: Of the probabilities on the device.
        stream: The stream's handle.
    """

    images: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    images_address: int
    probabilities_address: int
    stream: int

    def enter(self) -> None:
        """Make the GPU this thread's own; before anything else in a thread."""
        ...

    def upload(self, batch: int) -> None:
        """Start copying that many images to the device."""
        ...

    def download(self, batch: int) -> None:
        """Start copying the probabilities of that many images to the host."""
        ...

    def capture(self, work: Callable[[], None]) -> Callable[[], None] | None:
        """A function that starts the work again as one CUDA graph; None where it cannot be captured.

        Args:
            work: Starts work on the stream, which is recorded and not done.
        """
        ...

    def wait(self) -> None:
        """Wait for everything on the stream."""
        ...

    def close(self) -> None:
        """Free the memory. May be called twice."""
        ...


class PinnedCudaBuffers(Closing):
    """`CudaBuffers` on a real GPU, by cuda-core; copies by cuda-bindings, which take addresses and sizes."""

    def __init__(self, gpu: Gpu, largest: int, height: int, width: int, classes: int, *, extra: str) -> None:
        """Allocate.

        Args:
            gpu: The device.
            largest: Images in the largest batch.
            height: Of an image, in pixels.
            width: Of an image, in pixels.
            classes: Probabilities for an image.
            extra: Of this package, that installs cuda-core.

        Raises:
            OutOfMemoryError: The GPU's memory, or what may be pinned, does not hold the batch.
            UnavailableError: The GPU does not work.
        """
        core = require("cuda.core", extra=extra, purpose="an engine of TensorRT's")
        self._runtime: Any = require("cuda.bindings.runtime", extra=extra, purpose="an engine of TensorRT's")
        # Of one image.
        self._bytes = (height * width, classes * np.dtype(np.float32).itemsize)
        self._graphs: list[Any] = []
        self._resources: list[Any] = []
        with gpu_failures(f"memory for {largest} images was allocated"):
            try:
                self._allocate(core, gpu.index, [largest * size for size in self._bytes])
            except BaseException:
                # At once, since a plan for fewer images comes next.
                self.close()
                raise
        self.stream = int(self._stream.handle)
        self.images_address, self.probabilities_address = (int(buffer.handle) for buffer in self._on_device)
        images, probabilities = (
            _view(buffer, largest * size) for buffer, size in zip(self._host, self._bytes, strict=True)
        )
        self.images = images.reshape(largest, height, width)
        self.probabilities = probabilities.view(np.float32).reshape(largest, classes)
        # Rows beyond a batch are computed as well: of black images, not of what lay in memory.
        self.images[:] = 0

    def _allocate(self, core: Any, index: int, sizes: list[int]) -> None:
        self._device = core.Device(index)
        self._device.set_current()
        self._stream = self._owned(self._device.create_stream())
        pinned = core.LegacyPinnedMemoryResource()
        self._host = [self._owned(pinned.allocate(size)) for size in sizes]
        self._on_device = [self._owned(self._device.allocate(size, stream=self._stream)) for size in sizes]
        self._stream.sync()

    def enter(self) -> None:
        """See `CudaBuffers`."""
        self._device.set_current()

    def upload(self, batch: int) -> None:
        """See `CudaBuffers`."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(self._on_device[0], self._host[0], batch * self._bytes[0], kind)

    def download(self, batch: int) -> None:
        """See `CudaBuffers`."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(self._host[1], self._on_device[1], batch * self._bytes[1], kind)

    def capture(self, work: Callable[[], None]) -> Callable[[], None] | None:
        """See `CudaBuffers`."""
        builder = self._stream.create_graph_builder()
        try:
            # Other threads may allocate meanwhile, and other engines run on streams of their own.
            builder.begin_building("thread_local")
            try:
                work()
            finally:
                builder.end_building()
            graph = builder.complete()
        except Exception as error:  # noqa: BLE001 - whatever cannot be captured runs as it is
            _LOG.debug("no CUDA graph: %s", error)
            return None
        finally:
            builder.close()
        self._graphs.append(graph)
        return functools.partial(graph.launch, self._stream)

    def wait(self) -> None:
        """See `CudaBuffers`."""
        self._stream.sync()

    def close(self) -> None:
        """See `CudaBuffers`."""
        for resource in (*self._graphs, *reversed(self._resources)):
            # Nothing can be freed on a GPU that is gone.
            with contextlib.suppress(Exception):
                resource.close()
        self._graphs.clear()
        self._resources.clear()

    def _owned(self, resource: Any) -> Any:
        self._resources.append(resource)
        return resource

    def _copy(self, target: Any, source: Any, size: int, kind: Any) -> None:
        (error,) = self._runtime.cudaMemcpyAsync(
            int(target.handle), int(source.handle), size, kind, self._stream.handle
        )
        if error != self._runtime.cudaError_t.cudaSuccess:
            raise RuntimeError(f"cudaMemcpyAsync of {size} bytes: {error.name}")


def _view(buffer: Any, size: int) -> NDArray[np.uint8]:
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(int(buffer.handle)))
