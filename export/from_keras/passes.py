"""Passes over the written graph that remove what a network need not compute.

Every pass changes the graph in place and leaves what it computes, to float32 rounding, as it is.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["drop_unread", "fold_padding", "fold_scales", "plain_batch_norms", "simplify"]

_SPATIAL: Final = 2


def simplify(graph: "ir.Graph") -> None:
    """Run every pass once, each on what the one before it leaves."""
    fold_padding(graph)
    fold_scales(graph)
    plain_batch_norms(graph)
    drop_unread(graph)


def fold_padding(graph: "ir.Graph") -> None:
    """Pad → Conv as one Conv.

    Requires: a Pad of zeros along height and width.
    Ensures: each Conv that reads it pads by itself; the Pad stays for other readers.
    """
    for conv in [node for node in graph if node.op_type == "Conv"]:
        pad = _input(conv, 0).producer()
        if pad is None or pad.op_type != "Pad" or len(pad.inputs) > _SPATIAL:
            continue
        before, after = np.split(_numpy(_input(pad, 1)), 2)
        if before[:_SPATIAL].any() or after[:_SPATIAL].any() or min(*before, *after) < 0:
            continue
        outside = [*before[_SPATIAL:].tolist(), *after[_SPATIAL:].tolist()]
        own = conv.attributes.get_ints("pads", [0] * len(outside))
        _set(conv, "pads", [inner + outer for inner, outer in zip(own, outside, strict=True)])
        conv.replace_input_with(0, _input(pad, 0))


def fold_scales(graph: "ir.Graph") -> None:
    """Conv → BatchNormalization, or → Mul by a constant, as one Conv; the same for Gemm.

    InceptionResNetV2 has 39 residuals that are scaled by a constant. As nodes of their own they cost a pass over
    the map each, and OpenVINO 2026.4 gets them wrong once the graph is quantised.

    Requires: a Conv or Gemm whose constants no other node reads, read only by a BatchNormalization or by a Mul by
    one constant or one a channel.
    Ensures: weights and bias that are computed in float64 and rounded once, under the names of the Conv.
    """
    for node in [node for node in graph if node.op_type in {"Conv", "Gemm"}]:
        if not all(value is not None and _is_own(value) for value in node.inputs[1:]):
            continue
        kernel = _numpy(_input(node, 1))
        channels = kernel.shape[0] if node.op_type == "Conv" else kernel.shape[1]
        scale, shift = np.ones(channels), np.zeros(channels)
        follower, step = _next_scale(node, channels)
        while follower is not None:
            scale, shift = scale * step[0], shift * step[0] + step[1]
            follower.outputs[0].replace_all_uses_with(node.outputs[0])
            graph.remove(follower, safe=True)
            follower, step = _next_scale(node, channels)
        if (scale != 1).any() or shift.any():
            _scale_weights(graph, node, scale, shift)


def plain_batch_norms(graph: "ir.Graph") -> None:
    """BatchNormalization with trained statistics as one with mean 0, variance 1 and epsilon 0.

    A variance may not fit into half precision, and a sum with epsilon loses digits there; scale and offset do not.

    Requires: a BatchNormalization of constants.
    Ensures: scale and offset that are computed in float64 and rounded once.
    """
    for node in [node for node in graph if node.op_type == "BatchNormalization"]:
        scale, offset = _batch_norm(node)
        arrays = {"scale": scale, "offset": offset, "mean": np.zeros_like(scale), "variance": np.ones_like(scale)}
        for index, (name, array) in enumerate(arrays.items(), start=1):
            node.replace_input_with(index, _constant(graph, f"{node.name}/{name}", array.astype(np.float32)))
        _set(node, "epsilon", 0.0)


def drop_unread(graph: "ir.Graph") -> None:
    """Nodes and constants that no output depends on.

    Ensures: every node and every constant is read, or an output.
    """
    for node in reversed(list(graph)):
        if not any(value.is_graph_output() or value.uses() for value in node.outputs):
            graph.remove(node, safe=True)
    for name, value in list(graph.initializers.items()):
        if not value.uses():
            del graph.initializers[name]


def _next_scale(node: "ir.Node", channels: int) -> "tuple[ir.Node | None, tuple[Any, Any]]":
    """The node that only scales and shifts the channels of this node's result, if that is its only reader."""
    result = node.outputs[0]
    readers = {use.node for use in result.uses()}
    if len(readers) != 1 or result.is_graph_output():
        return None, (1, 0)
    (reader,) = readers
    if reader.outputs[0].is_graph_output():
        return None, (1, 0)
    if reader.op_type == "BatchNormalization" and reader.inputs[0] is result:
        return reader, _batch_norm(reader)
    if reader.op_type == "Mul":
        shape = (channels, 1, 1) if node.op_type == "Conv" else (channels,)
        for value in _constants(reader):
            if value.size == 1 and value.ndim <= len(shape) + 1:
                return reader, (float(value.reshape(())), 0)
            if value.shape in {shape, (1, *shape)}:
                return reader, (value.reshape(-1).astype(np.float64), 0)
    return None, (1, 0)


def _scale_weights(
    graph: "ir.Graph", node: "ir.Node", scale: NDArray[np.float64], shift: NDArray[np.float64]
) -> None:
    kernel = _input(node, 1)
    weights = _numpy(kernel)
    along = scale.reshape(-1, *[1] * (weights.ndim - 1)) if node.op_type == "Conv" else scale
    _fill(kernel, np.multiply(weights, along).astype(np.float32))
    if len(node.inputs) > _SPATIAL:
        bias = _input(node, 2)
        _fill(bias, (_numpy(bias) * scale + shift).astype(np.float32))
        return
    node.resize_inputs(3)
    node.replace_input_with(2, _constant(graph, f"{node.name}/bias", shift.astype(np.float32)))


def _batch_norm(node: "ir.Node") -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A BatchNormalization as scale and offset."""
    gamma, beta, mean, variance = (_numpy(_input(node, index)).astype(np.float64) for index in range(1, 5))
    scale = gamma / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
    return scale, beta - mean * scale


def _constants(node: "ir.Node") -> Iterator[NDArray[Any]]:
    for value in node.inputs:
        if value is not None and value.is_initializer():
            yield _numpy(value)


def _is_own(value: "ir.Value") -> bool:
    """A constant that one node reads."""
    return value.is_initializer() and len(value.uses()) == 1


def _input(node: "ir.Node", index: int) -> "ir.Value":
    value = node.inputs[index]
    assert value is not None  # noqa: S101 - the writer leaves out optional inputs only
    return value


def _numpy(value: "ir.Value") -> NDArray[Any]:
    assert value.const_value is not None  # noqa: S101 - every initialiser has a value
    return value.const_value.numpy()


def _fill(value: "ir.Value", array: NDArray[np.float32]) -> None:
    """Give a constant another value."""
    import onnx_ir as ir

    value.const_value = ir.Tensor(np.ascontiguousarray(array), name=value.name)


def _constant(graph: "ir.Graph", name: str, array: NDArray[np.float32]) -> "ir.Value":
    import onnx_ir as ir

    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(ir.DataType.FLOAT))
    _fill(value, array)
    graph.register_initializer(value)
    return value


def _set(node: "ir.Node", name: str, value: Any) -> None:
    import onnx_ir as ir

    attribute = ir.AttrFloat32(name, value) if isinstance(value, float) else ir.AttrInt64s(name, value)
    node.attributes[name] = attribute
