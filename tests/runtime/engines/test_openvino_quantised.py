"""OpenVINO computes int8 as it is written, behind a Concat as well."""

from collections import Counter
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from braintumor.export.graph.qdq import insert_qdq
from braintumor.runtime.engines.openvino_quantised import fuse_quantisation, narrow_weights
from braintumor.system.cpu import saturates_int8

openvino = pytest.importorskip("openvino")

CHANNELS = 16
RNG = np.random.default_rng(0)
NARROW_STEPS = 4
"""Of int8, that weights of seven bits move an answer by."""
X = RNG.normal(size=(3, CHANNELS, 9, 9)).astype(np.float32)


def joined(*, branches: int, relu: bool) -> onnx.ModelProto:
    """Convolutions side by side, their Concat, and an int8 convolution that reads it."""
    nodes, parts = [], []
    constants = {"w": RNG.normal(size=(8, CHANNELS * branches, 1, 1)) * 0.1}
    for index in range(branches):
        constants[f"w{index}"] = RNG.normal(size=(CHANNELS, CHANNELS, 1, 1)) * 0.2
        nodes.append(helper.make_node("Conv", ["x", f"w{index}"], [f"c{index}"], name=f"conv{index}"))
        nodes.append(helper.make_node("Relu" if relu else "Tanh", [f"c{index}"], [f"r{index}"], name=f"act{index}"))
        parts.append(f"r{index}")
    nodes.append(helper.make_node("Concat", parts, ["joined"], axis=1, name="concat"))
    nodes.append(helper.make_node("Conv", ["joined", "w"], ["y"], name="last"))
    graph = helper.make_graph(
        nodes,
        "joined",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", CHANNELS, 9, 9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8, 9, 9])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def as_written(model: onnx.ModelProto) -> Any:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": X})[0]


def on_openvino(model: Any) -> Any:
    return openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(X)[0]


def steps_of_weights(model: Any) -> list[Any]:
    constants = (node for node in model.get_ordered_ops() if node.get_type_name() == "Constant")
    return [node.data for node in constants if node.get_element_type() == openvino.Type.i8 and node.data.ndim > 1]


def read(model: onnx.ModelProto) -> Any:
    return openvino.Core().read_model(model.SerializeToString())


@pytest.mark.parametrize("branches", [2, 3])
@pytest.mark.parametrize("relu", [True, False])
def test_fuse_quantisation_corrects_a_convolution_behind_a_concat(branches: int, relu: bool) -> None:
    made = insert_qdq(joined(branches=branches, relu=relu), {"joined": 2.0, "x": 4.0})
    expected = as_written(made)
    model = read(made)
    assert fuse_quantisation(openvino, model) == 2
    steps = 1
    if saturates_int8():
        narrow_weights(openvino, model)
        steps = NARROW_STEPS
    assert np.abs(on_openvino(model) - expected).max() <= steps * np.abs(expected).max() / 127


def test_narrow_weights_halves_their_steps_and_keeps_the_function(joined_int8: onnx.ModelProto) -> None:
    expected, model = as_written(joined_int8), read(joined_int8)
    fuse_quantisation(openvino, model)
    before = steps_of_weights(model)
    assert narrow_weights(openvino, model) == len(before) == 3
    assert max(np.abs(steps).max() for steps in before) == 127
    assert max(np.abs(steps.astype(int)).max() for steps in steps_of_weights(model)) == 64
    assert np.abs(on_openvino(model) - expected).max() <= NARROW_STEPS * np.abs(expected).max() / 127


def test_narrow_weights_leaves_a_float_model() -> None:
    assert narrow_weights(openvino, read(joined(branches=2, relu=True))) == 0


def test_fuse_quantisation_leaves_no_chain(joined_int8: onnx.ModelProto) -> None:
    model = read(joined_int8)
    before = Counter(node.get_type_name() for node in model.get_ops())
    made = fuse_quantisation(openvino, model)
    after = Counter(node.get_type_name() for node in model.get_ordered_ops())
    assert after["FakeQuantize"] == before["FakeQuantize"] == made
    # What is left converts the weights.
    assert after["Subtract"] == before["Subtract"] - made


def test_fuse_quantisation_leaves_a_float_model() -> None:
    model = read(joined(branches=2, relu=True))
    before = [node.friendly_name for node in model.get_ordered_ops()]
    assert fuse_quantisation(openvino, model) == 0
    assert [node.friendly_name for node in model.get_ordered_ops()] == before


@pytest.mark.parametrize("what", ["zero point", "scales"])
def test_fuse_quantisation_leaves_asymmetric_chains(joined_int8: onnx.ModelProto, what: str) -> None:
    for tensor in joined_int8.graph.initializer:
        if what == "zero point" and tensor.name == "joined:zero":
            tensor.CopyFrom(numpy_helper.from_array(np.array(3, np.int8), tensor.name))
        if what == "scales" and tensor.name in {"joined:scale", "joined:zero"}:
            value = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(np.full(2 * CHANNELS, value), tensor.name))
    if what == "scales":
        for node in joined_int8.graph.node:
            if node.name in {"joined:Q", "joined:DQ"}:
                node.attribute.append(helper.make_attribute("axis", 1))
    assert fuse_quantisation(openvino, read(joined_int8)) == 1


@pytest.fixture
def joined_int8() -> onnx.ModelProto:
    return insert_qdq(joined(branches=2, relu=True), {"joined": 2.0, "x": 4.0})
