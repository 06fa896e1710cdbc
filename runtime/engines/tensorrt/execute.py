"""Batches through a loaded plan: cut into chunks, filled up, started on a stream, replayed as CUDA graphs.

Launching some hundred small kernels one by one takes longer than a small batch needs to compute; a graph launches
them at once. A graph belongs to one batch size, which is why only the sizes of `profile.batch_sizes` are run. The
first batch of a size runs as it is, since the library prepares itself for a new shape, and is captured afterwards.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import UnavailableError
from braintumor.runtime.engines.base import INPUT, OUTPUT, PendingResult
from braintumor.runtime.engines.tensorrt.cuda import gpu_failures
from braintumor.runtime.engines.tensorrt.cuda_buffers import CudaBuffers
from braintumor.runtime.engines.tensorrt.profile import BatchProfile, Chunk, chunks

__all__ = ["PlanRunner"]


class PlanRunner:
    """Runs a plan on batches of any size."""

    def __init__(
        self, context: Any, buffers: CudaBuffers, profile: BatchProfile, failure: Callable[[str], UnavailableError]
    ) -> None:
        """Nothing runs before the first batch.

        Args:
            context: The library's execution context.
            buffers: Its memory and its stream.
            profile: Of the plan.
            failure: The error for something that the library refused.
        """
        self._context, self._buffers, self._profile, self._failure = context, buffers, profile, failure
        # Batch size → its graph; None where it could not be captured.
        self._launches: dict[int, Callable[[], None] | None] = {}

    @property
    def graphs(self) -> tuple[int, ...]:
        """Batch sizes that are replayed as CUDA graphs."""
        return tuple(sorted(size for size, launch in self._launches.items() if launch is not None))

    def submit(self, images: NDArray[np.uint8]) -> PendingResult:
        """Start the first chunk of a batch; the others follow when it is waited for.

        They need not be started before: chunks of the largest batch size fill a GPU.

        Args:
            images: uint8 [batch, height, width], not to be changed before the answer was waited for.

        Raises:
            OutOfMemoryError: The GPU's memory is full.
            UnavailableError: The GPU or the library fails.
        """
        todo = list(chunks(len(images), self._profile))
        answers = np.empty((len(images), self._buffers.probabilities.shape[1]), np.float32)

        def wait() -> NDArray[np.float32]:
            with gpu_failures(f"{len(images)} images were classified"):
                for index, chunk in enumerate(todo):
                    if index:
                        self._start(chunk, images)
                    self._finish(chunk, answers)
            return answers

        if todo:
            with gpu_failures(f"{len(images)} images were classified"):
                self._start(todo[0], images)
        return wait

    def _start(self, chunk: Chunk, images: NDArray[np.uint8]) -> None:
        self._buffers.enter()
        self._buffers.images[: chunk.count] = images[chunk.start : chunk.start + chunk.count]
        if launch := self._launches.get(chunk.batch_size):
            launch()
            return
        if not self._context.set_input_shape(INPUT, (chunk.batch_size, *self._buffers.images.shape[1:])):
            raise self._failure(f"batches of {chunk.batch_size} are refused")
        if not self._launches:
            self._bind()
        self._enqueue(chunk.batch_size)

    def _finish(self, chunk: Chunk, answers: NDArray[np.float32]) -> None:
        self._buffers.enter()
        self._buffers.wait()
        answers[chunk.start : chunk.start + chunk.count] = self._buffers.probabilities[: chunk.count]
        if chunk.batch_size not in self._launches:
            self._launches[chunk.batch_size] = self._capture(chunk.batch_size)

    def _capture(self, batch_size: int) -> Callable[[], None] | None:
        # TensorRT for RTX knows; TensorRT finds out.
        capturable = getattr(self._context, "is_stream_capturable", None)
        if capturable is not None and not capturable(self._buffers.stream):
            return None
        return self._buffers.capture(lambda: self._enqueue(batch_size))

    def _bind(self) -> None:
        for name, address in ((INPUT, self._buffers.images_address), (OUTPUT, self._buffers.probabilities_address)):
            if not self._context.set_tensor_address(name, address):
                raise self._failure(f"the memory for {name} is refused")

    def _enqueue(self, batch_size: int) -> None:
        self._buffers.upload(batch_size)
        if not self._context.execute_async_v3(self._buffers.stream):
            raise self._failure(f"a batch of {batch_size} does not run")
        self._buffers.download(batch_size)
