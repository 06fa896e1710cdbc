"""CUDA buffers and an execution context whose device is the host's memory."""

from collections.abc import Callable
from typing import Any

import numpy as np


class FakeCudaBuffers:
    """A buffers whose device is the host's memory, and which writes down what is done."""

    def __init__(self, largest: int, height: int, width: int) -> None:
        self.images = np.zeros((largest, height, width), np.uint8)
        self.probabilities = np.zeros((largest, 4), np.float32)
        self.images_address, self.probabilities_address, self.stream = 100, 200, 300
        self.on_device = (np.zeros_like(self.images), np.zeros_like(self.probabilities))
        self.done: list[str] = []
        self.capturing: list[Callable[[], None]] | None = None
        self.captures = True
        self.closed = False

    def _do(self, name: str, work: Callable[[], None]) -> None:
        if self.capturing is not None:
            self.capturing.append(work)
            return
        self.done.append(name)
        work()

    def enter(self) -> None:
        pass

    def upload(self, batch: int) -> None:
        self._do(f"upload {batch}", lambda: np.copyto(self.on_device[0][:batch], self.images[:batch]))

    def download(self, batch: int) -> None:
        self._do(f"download {batch}", lambda: np.copyto(self.probabilities[:batch], self.on_device[1][:batch]))

    def run(self, batch: int, work: Callable[[], None]) -> None:
        self._do(f"run {batch}", work)

    def capture(self, work: Callable[[], None]) -> Callable[[], None] | None:
        if not self.captures:
            return None
        recorded: list[Callable[[], None]] = []
        self.capturing = recorded
        work()
        self.capturing = None

        def launch() -> None:
            self.done.append("graph")
            for step in recorded:
                step()

        return launch

    def wait(self) -> None:
        self.done.append("wait")

    def close(self) -> None:
        self.closed = True


class FakeContext:
    """An execution context that answers by a function of the images, on a `FakeCudaBuffers`."""

    def __init__(self, buffers: FakeCudaBuffers, answer: Callable[[Any], Any]) -> None:
        self.buffers, self.answer = buffers, answer
        self.shape: tuple[int, ...] = ()
        self.addresses: dict[str, int] = {}
        self.refuses = ""

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = shape
        return name == "image" and self.refuses != "shape"

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return self.refuses != "address"

    def execute_async_v3(self, stream: int) -> bool:
        if stream != self.buffers.stream or self.refuses == "run":
            return False
        images, probabilities = self.buffers.on_device
        batch = self.shape[0]
        self.buffers.run(batch, lambda: np.copyto(probabilities[:batch], self.answer(images[:batch])))
        return True
