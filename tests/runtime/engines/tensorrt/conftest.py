"""The real TensorRT for RTX, which builds without a GPU; small members of every shape of fault to build from."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from braintumor.runtime.engines.tensorrt.library import TrtLibrary, load_library

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
def rtx() -> TrtLibrary:
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
