"""A graph without its weights is checked, and its shapes are inferred, as with them."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper

from braintumor.export.graph.weightless import complete, weightless

Make = Callable[..., onnx.ModelProto]


@pytest.fixture
def model(make_graph: Make) -> onnx.ModelProto:
    """A convolution, and a Reshape whose shape is a constant."""
    nodes = [
        helper.make_node("Conv", ["x", "kernel", "bias"], ["a"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("Reshape", ["a", "shape"], ["b"], name="reshape"),
        helper.make_node("MatMul", ["b", "dense"], ["y"], name="dense"),
    ]
    constants = {
        "kernel": np.ones((16, 3, 3, 3), np.float32),
        "bias": np.zeros(16, np.float32),
        "shape": np.array([-1, 1024], np.int64),
        "dense": np.ones((1024, 4), np.float32),
    }
    made = make_graph(nodes, constants, outputs={"y": [4]})
    made.doc_string, made.producer_name = "said", "somebody"
    return made


def test_weightless_leaves_out_the_values_of_large_constants_only(model: onnx.ModelProto) -> None:
    light = weightless(model)
    assert [tensor.name for tensor in light.graph.initializer] == ["bias", "shape"]
    assert [value.name for value in light.graph.input] == ["x", "kernel", "dense"]
    assert (light.doc_string, light.producer_name, light.opset_import) == ("said", "somebody", model.opset_import)
    assert light.graph.node == model.graph.node
    assert light.ByteSize() < 1024 < model.ByteSize()


def test_complete_infers_the_shapes_as_with_the_weights(model: onnx.ModelProto) -> None:
    expected = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    complete(model)
    assert model == expected


def test_complete_refuses_a_graph_that_contradicts_itself(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[1] = "dense"
    with pytest.raises((onnx.checker.ValidationError, onnx.shape_inference.InferenceError)):
        complete(model)
