"""The real TensorRT for RTX, which builds without a GPU; small members of every shape of fault to build from."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from braintumor.runtime.engines.tensorrt.library import Library, load_library

node = helper.make_node
AXIS, WEIGHTS, ZERO = np.array([2], np.int64), np.ones((16, 4), np.float32), np.int8(0)
BEFORE = (
    node("Cast", ["image"], ["grey"], name="to-float", to=TensorProto.FLOAT),
    node("ReduceMean", ["grey", "axis"], ["rows"], name="mean", keepdims=0),
)
AFTER = (
    node("MatMul", ["features", "weights"], ["logits"], name="head"),
    node("Softmax", ["logits"], ["probabilities"], name="softmax", axis=1),
)


@pytest.fixture(scope="session")
def rtx() -> Library:
    pytest.importorskip("tensorrt_rtx")
    return load_library("tensorrt-rtx")


@pytest.fixture
def small_member(tmp_path: Path) -> Callable[..., Path]:
    """Writes a member of 16 x 16 pixels with some nodes between the mean of its columns and its head."""

    def make(
        between: Sequence[onnx.NodeProto] = (node("Identity", ["rows"], ["features"], name="same"),),
        constants: Mapping[str, Any] | None = None,
        *,
        batch: str | int = "batch",
        opset: int = 19,
    ) -> Path:
        values = {"axis": AXIS, "weights": WEIGHTS, **(constants or {})}
        graph = helper.make_graph(
            [*BEFORE, *between, *AFTER],
            "small",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, 16, 16])],
            [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [batch, 4])],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
        )
        path = tmp_path / f"model-{len(list(tmp_path.glob('model-*.onnx')))}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), path)
        return path

    return make


@pytest.fixture
def quantised() -> Callable[..., tuple[Sequence[onnx.NodeProto], Mapping[str, Any]]]:
    """Makes a Q/DQ pair, to go between, with a zero point."""

    def make(zero: Any = ZERO) -> tuple[Sequence[onnx.NodeProto], Mapping[str, Any]]:
        nodes = [
            node("QuantizeLinear", ["rows", "scale", "zero"], ["q"], name="the-q"),
            node("DequantizeLinear", ["q", "scale", "zero"], ["features"], name="the-dq"),
        ]
        return nodes, {"scale": np.float32(0.1), "zero": np.asarray(zero)}

    return make


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


@pytest.fixture
def fake_buffers() -> type[FakeCudaBuffers]:
    return FakeCudaBuffers


@pytest.fixture
def fake_context() -> type[FakeContext]:
    return FakeContext
