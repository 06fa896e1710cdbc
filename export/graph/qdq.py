"""INT8 by explicit QuantizeLinear and DequantizeLinear (Q/DQ), as TensorRT, OpenVINO and ONNX Runtime read it.

    activation ─ Q ─ DQ ─┐
                         ├─ Conv | Gemm | MatMul ─► float
    int8 weight ─── DQ ──┘

Symmetric int8 throughout (zero points are 0, which TensorRT demands): q = clip(round(x / scale), -128, 127), see
the ONNX operator QuantizeLinear. Weights get one scale an output channel. Biases and outputs stay float: the
builders refuse an int32 DequantizeLinear, and a rounded output is a loss without a gain.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from braintumor.errors import ModelError
from braintumor.export.graph.weightless import complete, is_weight, put_back, weightless

__all__ = ["INT8_MAX", "INT8_OPSET", "WeightedNode", "insert_qdq", "weighted_nodes"]

INT8_MAX: Final = 127
INT8_OPSET: Final = 19
"""Lower opsets have no half-precision scales; at 21 ONNX Runtime does not load every quantised backbone."""

_OTHER_MODEL: Final = "the quantisation plan was made for another model"
_SEARCH: Final = "search a new one with `calibrate`"
# Axis of the output channels in a weight.
_CONV_AXIS: Final = 0
_MATMUL_AXIS: Final = 1


@dataclass(frozen=True, slots=True)
class WeightedNode:
    """A node that int8 arithmetic can execute.

    Attributes:
        name: Of the node.
        kind: "Conv", "Gemm" or "MatMul".
        activation: The tensor that it reads.
        weight: Its constant weight.
        axis: Of the output channels in the weight.
        depthwise: A convolution with one input channel a group.
    """

    name: str
    kind: str
    activation: str
    weight: str
    axis: int
    depthwise: bool


def weighted_nodes(model: onnx.ModelProto) -> tuple[WeightedNode, ...]:
    """The nodes with a constant weight of two axes or more, in the order of the graph."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    weighted = []
    for node in model.graph.node:
        if node.op_type not in {"Conv", "Gemm", "MatMul"} or node.input[1] not in constants:
            continue
        weight = constants[node.input[1]]
        if len(weight.dims) < 2 or node.input[0] in constants:  # noqa: PLR2004 - a vector has no channels
            continue
        groups = _attribute(node, "group", 1)
        depthwise = node.op_type == "Conv" and groups > 1 and weight.dims[1] == 1
        weighted.append(WeightedNode(node.name, node.op_type, node.input[0], weight.name, _channels(node), depthwise))
    return tuple(weighted)


def insert_qdq(
    model: onnx.ModelProto, thresholds: Mapping[str, float], float_nodes: Collection[str] = ()
) -> onnx.ModelProto:
    """A copy of an FP32 model in which all weighted nodes but some compute in int8.

    Args:
        model: FP32, with names for all nodes.
        thresholds: Activation tensor → the magnitude that becomes 127, greater than 0.
        float_nodes: Names of weighted nodes that stay as they are.

    Returns:
        A checked model of opset `INT8_OPSET`.

    Raises:
        ModelError: A tensor that is to be quantised has no threshold, or there is no such node to stay in float: the
            plan was made for another model.
    """
    weights = {tensor.name for tensor in model.graph.initializer if is_weight(tensor)}
    copy = onnx.version_converter.convert_version(weightless(model, weights), INT8_OPSET)
    weighted_by_name = {node.name: node for node in weighted_nodes(model)}
    if unknown := sorted(set(float_nodes) - weighted_by_name.keys()):
        raise ModelError(f"there is no node {unknown[0]!r} that could stay in float: {_OTHER_MODEL}", _SEARCH)
    chosen = {name: node for name, node in weighted_by_name.items() if name not in float_nodes}
    rewriter = _Rewriter(model, thresholds)
    nodes = []
    for node in copy.graph.node:
        if (weighted := chosen.get(node.name)) is not None:
            nodes += rewriter.rewired(node, weighted)
        nodes.append(node)
    del copy.graph.node[:], copy.graph.value_info[:]
    copy.graph.node.extend(nodes)
    put_back(copy, model, weights)
    rewriter.store_constants(copy.graph)
    complete(copy)
    return copy


class _Rewriter:
    """Puts Q/DQ in front of nodes; a tensor or weight that several nodes read is quantised once.

    Constants of the tensor `name` are called `name:scale` and so on: `name/scale` may be a layer's own.
    """

    def __init__(self, model: onnx.ModelProto, thresholds: Mapping[str, float]) -> None:
        self._thresholds = thresholds
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._activations: dict[str, str] = {}
        self._dequantised: dict[str, str] = {}
        self._constants: list[onnx.TensorProto] = []

    def rewired(self, node: onnx.NodeProto, weighted: WeightedNode) -> list[onnx.NodeProto]:
        """Let a node read quantised inputs; returns the new nodes that have to come before it."""
        before: list[onnx.NodeProto] = []
        node.input[0] = self._activation(weighted.activation, before)
        node.input[1] = self._weight(weighted, before)
        return before

    def store_constants(self, graph: onnx.GraphProto) -> None:
        """Add the new constants, and remove the float weights that nothing reads any more."""
        read = {name for node in graph.node for name in node.input}
        for index in reversed(range(len(graph.initializer))):
            if graph.initializer[index].name not in read:
                del graph.initializer[index]
        graph.initializer.extend(self._constants)

    def _activation(self, name: str, before: list[onnx.NodeProto]) -> str:
        if name not in self._activations:
            threshold = self._thresholds.get(name, 0.0)
            if not threshold > 0:
                raise ModelError(f"there is no calibrated range for the tensor {name!r}: {_OTHER_MODEL}", _SEARCH)
            scale = self._constant(f"{name}:scale", np.array(threshold / INT8_MAX, np.float32))
            zero = self._constant(f"{name}:zero", np.array(0, np.int8))
            before += [
                helper.make_node("QuantizeLinear", [name, scale, zero], [f"{name}:int8"], name=f"{name}:Q"),
                helper.make_node(
                    "DequantizeLinear", [f"{name}:int8", scale, zero], [f"{name}:dq"], name=f"{name}:DQ"
                ),
            ]
            self._activations[name] = f"{name}:dq"
        return self._activations[name]

    def _weight(self, weighted: WeightedNode, before: list[onnx.NodeProto]) -> str:
        name, axis = weighted.weight, weighted.axis
        if name not in self._dequantised:
            steps, scales = _rounded(numpy_helper.to_array(self._weights[name]), axis)
            inputs = [
                self._constant(f"{name}:int8", steps),
                self._constant(f"{name}:scale", scales),
                self._constant(f"{name}:zero", np.zeros(scales.shape, np.int8)),
            ]
            before.append(helper.make_node("DequantizeLinear", inputs, [f"{name}:dq"], name=f"{name}:DQ", axis=axis))
            self._dequantised[name] = f"{name}:dq"
        return self._dequantised[name]

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self._constants.append(numpy_helper.from_array(value, name))
        return name


def _rounded(weight: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A weight on its int8 grid, and the scale of each output channel."""
    others = tuple(other for other in range(weight.ndim) if other != axis)
    largest = np.abs(weight).max(axis=others)
    # A channel of zeros, or of less than a float's normal numbers, has no scale of its own; any will do.
    scales = np.where(largest / INT8_MAX >= np.finfo(np.float32).tiny, largest / INT8_MAX, 1.0).astype(np.float32)
    shape = [-1 if other == axis else 1 for other in range(weight.ndim)]
    steps = np.rint(weight / scales.reshape(shape)).clip(-INT8_MAX, INT8_MAX).astype(np.int8)
    return steps, scales


def _channels(node: onnx.NodeProto) -> int:
    if node.op_type == "Conv" or (node.op_type == "Gemm" and _attribute(node, "transB", 0)):
        return _CONV_AXIS
    return _MATMUL_AXIS


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(item.i) for item in node.attribute if item.name == name), default)
