"""Members written by hand as ONNX graphs."""

from collections.abc import Mapping
from typing import Any

import onnx
from onnx import TensorProto, helper


def small_graph(*, height: int = 16, width: int = 16, extra: Mapping[str, Any] | None = None) -> onnx.ModelProto:
    """Softmax of (sqrt(mean grey - 10), 1, 2, 3): an answer is NaN for an image with a mean below 10."""
    floats = helper.make_tensor("rest", TensorProto.FLOAT, [1, 3], [1.0, 2.0, 3.0])
    nodes = [
        helper.make_node("Cast", ["image"], ["grey"], to=TensorProto.FLOAT),
        helper.make_node("Constant", [], ["axes"], value=helper.make_tensor("v", TensorProto.INT64, [2], [1, 2])),
        helper.make_node("ReduceMean", ["grey", "axes"], ["kept"], keepdims=1),
        helper.make_node("Constant", [], ["flat"], value=helper.make_tensor("v", TensorProto.INT64, [2], [-1, 1])),
        helper.make_node("Reshape", ["kept", "flat"], ["mean"]),
        helper.make_node("Constant", [], ["ten"], value=helper.make_tensor("v", TensorProto.FLOAT, [], [10.0])),
        helper.make_node("Sub", ["mean", "ten"], ["above"]),
        helper.make_node("Sqrt", ["above"], ["root"]),
        helper.make_node("Mul", ["mean", "nought"], ["zeros"]),
        helper.make_node("Add", ["zeros", "rest"], ["others"]),
        helper.make_node("Concat", ["root", "others"], ["logits"], axis=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", height, width])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 4])],
        [floats, helper.make_tensor("nought", TensorProto.FLOAT, [], [0.0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    for name, value in (extra or {}).items():
        setattr(model, name, value)
    return model
