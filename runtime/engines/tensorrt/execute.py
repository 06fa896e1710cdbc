"""Batches through a loaded plan: cut into parts, filled up to a rung, started on a stream, replayed as CUDA graphs.

Launching some hundred small kernels one by one takes longer than a small batch needs to compute; a graph launches
them at once. A graph belongs to one batch size, which is why only the rungs of `profile.ladder` are run. The first
batch of a rung runs as it is, since the library prepares itself for a new shape, and is captured afterwards.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import UnavailableError
from braintumor.runtime.engines.base import INPUT, OUTPUT, PendingResult
from braintumor.runtime.engines.tensorrt.cuda import gpu_failures
from braintumor.runtime.engines.tensorrt.cuda_buffers import Lane
from braintumor.runtime.engines.tensorrt.profile import BatchProfile, Part, parts

__all__ = ["PlanRuns"]


class PlanRuns:
    """Runs a plan."""

    def __init__(
        self, context: Any, lane: Lane, profile: BatchProfile, failure: Callable[[str], UnavailableError]
    ) -> None:
        """Nothing runs before the first batch.

        Args:
            context: The library's execution context.
            lane: Its memory and its stream.
            profile: Of the plan.
            failure: The error for something that the library refused.
        """
        self._context, self._lane, self._profile, self._failure = context, lane, profile, failure
        # None where a rung could not be captured.
        self._launches: dict[int, Callable[[], None] | None] = {}

    @property
    def graphs(self) -> tuple[int, ...]:
        """Batch sizes that are replayed as CUDA graphs."""
        return tuple(sorted(rung for rung, launch in self._launches.items() if launch is not None))

    def submit(self, images: NDArray[np.uint8]) -> PendingResult:
        """Start the first part of a batch; the others follow when it is waited for.

        They need not be started before: parts of the largest batch size fill a GPU.

        Args:
            images: uint8 [batch, height, width], not to be changed before the answer was waited for.

        Raises:
            OutOfMemoryError: The GPU's memory is full.
            UnavailableError: The GPU or the library fails.
        """
        todo = list(parts(len(images), self._profile))
        answers = np.empty((len(images), self._lane.probabilities.shape[1]), np.float32)

        def wait() -> NDArray[np.float32]:
            with gpu_failures(f"{len(images)} images were classified"):
                for index, part in enumerate(todo):
                    if index:
                        self._start(part, images)
                    self._finish(part, answers)
            return answers

        if todo:
            with gpu_failures(f"{len(images)} images were classified"):
                self._start(todo[0], images)
        return wait

    def _start(self, part: Part, images: NDArray[np.uint8]) -> None:
        self._lane.enter()
        self._lane.images[: part.count] = images[part.start : part.start + part.count]
        if launch := self._launches.get(part.rung):
            launch()
            return
        if not self._context.set_input_shape(INPUT, (part.rung, *self._lane.images.shape[1:])):
            raise self._failure(f"batches of {part.rung} are refused")
        if not self._launches:
            self._bind()
        self._enqueue(part.rung)

    def _finish(self, part: Part, answers: NDArray[np.float32]) -> None:
        self._lane.enter()
        self._lane.wait()
        answers[part.start : part.start + part.count] = self._lane.probabilities[: part.count]
        if part.rung not in self._launches:
            self._launches[part.rung] = self._captured(part.rung)

    def _captured(self, rung: int) -> Callable[[], None] | None:
        # TensorRT for RTX knows; TensorRT finds out.
        capturable = getattr(self._context, "is_stream_capturable", None)
        if capturable is not None and not capturable(self._lane.stream):
            return None
        return self._lane.capture(lambda: self._enqueue(rung))

    def _bind(self) -> None:
        for name, address in ((INPUT, self._lane.images_address), (OUTPUT, self._lane.probabilities_address)):
            if not self._context.set_tensor_address(name, address):
                raise self._failure(f"the memory for {name} is refused")

    def _enqueue(self, rung: int) -> None:
        self._lane.upload(rung)
        if not self._context.execute_async_v3(self._lane.stream):
            raise self._failure(f"a batch of {rung} does not run")
        self._lane.download(rung)
