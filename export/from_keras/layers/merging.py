"""Layers and operations that make one tensor of several, or of one and constants."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from braintumor.export.from_keras.builder import Builder
from braintumor.export.from_keras.layers.axes import chosen_axes, reshaped, value_axis
from braintumor.export.from_keras.layers.reduction import reduce_axes
from braintumor.export.from_keras.layers.scaling import aligned_constant
from braintumor.export.from_keras.tensor import Call, Tensor

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["LAYERS", "OPERATIONS", "combine", "same_order"]


def _concatenate(call: Call, graph: Builder) -> Tensor:
    """`Concatenate` along one axis."""
    axis = call.config.get("axis", -1)
    tensors = call.inputs
    rank = len(tensors[0].shape)
    place = axis % (rank + 1) - 1
    if place < 0 or len({len(tensor.shape) for tensor in tensors}) > 1:
        raise call.unsupported(
            f"axis={axis} of {[tensor.shape for tensor in tensors]} is not known to the direct writer"
        )
    shape = list(tensors[0].shape)
    shape[place] = sum(tensor.shape[place] for tensor in tensors)
    values, is_map = same_order(tensors, graph)
    onnx_axis = (2, 3, 1)[place] if is_map and rank > 1 else place + 1
    value = values[0] if len(values) == 1 else graph.node("Concat", values, call.name, axis=onnx_axis)
    return Tensor(value, tuple(shape), is_map, tensors[0].dtype)


def _stack(call: Call, graph: Builder) -> Tensor:
    """`stack` along a new axis."""
    tensors = call.inputs
    (axis,) = chosen_axes(call, call.config.get("axis", 0), len(tensors[0].shape) + 2)
    if len({tensor.shape for tensor in tensors}) > 1:
        raise call.unsupported(f"it stacks {[tensor.shape for tensor in tensors]}")
    shape = list(tensors[0].shape)
    shape.insert(axis - 1, 1)
    rows = tuple(
        reshaped(tensor, tuple(shape), graph, f"{call.name}/row{index}") for index, tensor in enumerate(tensors)
    )
    shape[axis - 1] = len(rows)
    values, is_map = same_order(rows, graph)
    result = Tensor(values[0], tuple(shape), is_map)
    return result.replace(graph.node("Concat", values, call.name, axis=value_axis(result, axis)))


def same_order(tensors: tuple[Tensor, ...], graph: Builder) -> "tuple[list[ir.Value], bool]":
    """The values of tensors of one rank in one order of axes, and whether that is a map's."""
    if any(tensor.is_map for tensor in tensors) and len(tensors[0].shape) == 3:  # noqa: PLR2004 - a map
        return [graph.channels_first(tensor) for tensor in tensors], True
    if all(tensor.is_map for tensor in tensors):
        return [tensor.value for tensor in tensors], True
    return [graph.keras_order(tensor) for tensor in tensors], False


def _elementwise(op_type: str, *, chained: bool = True) -> Callable[[Call, Builder], Tensor]:
    """A layer function for an operator of two operands; `chained` ones take more, one after the other."""

    def merge(call: Call, graph: Builder) -> Tensor:
        operands = _operands(call)
        if len(operands) > 2 and not chained:  # noqa: PLR2004 - two operands
            raise call.unsupported(f"it takes {len(operands)} operands")
        return combine(call, graph, op_type, operands)

    return merge


def combine(call: Call, graph: Builder, op_type: str, operands: list[Any], name: str = "") -> Tensor:
    """Nodes of two operands, one after the other; the last one gets the name.

    Args:
        call: The layer, for its name and messages.
        graph: Gets the nodes.
        op_type: "Add", "Mul", …
        operands: Tensors of one rank, and constants.
        name: Of the last node; the call's where it is left out.
    """
    tensors = tuple(item for item in operands if isinstance(item, Tensor))
    if len({len(tensor.shape) for tensor in tensors}) != 1:
        raise call.unsupported(f"it merges {[tensor.shape for tensor in tensors]}")
    values, is_map = same_order(tensors, graph)
    shape = np.broadcast_shapes(*(tensor.shape for tensor in tensors))
    like, ordered = Tensor(values[0], shape, is_map), iter(values)
    name = name or call.name
    inputs = [next(ordered) if isinstance(item, Tensor) else _constant(call, graph, item, like) for item in operands]
    value = inputs[0]
    for index, other in enumerate(inputs[1:], start=2):
        value = graph.node(op_type, [value, other], name if index == len(inputs) else f"{name}/{op_type.lower()}")
    return like.replace(value)


def _operands(call: Call) -> list[Any]:
    """Tensors and constants in order: a merging layer takes one list, an operation two arguments."""
    operands = [*call.args, *call.kwargs.values()]
    return list(operands[0]) if len(operands) == 1 and isinstance(operands[0], list | tuple) else operands


def _constant(call: Call, graph: Builder, item: Any, like: Tensor) -> "ir.Value":
    """A number, or an array that broadcasts to a tensor's Keras shape."""
    if isinstance(item, dict) and item.get("class_name") in {"__numpy__", "__tensor__"}:
        item = item["config"]["value"]
    try:
        array = np.asarray(item, np.float32)
    except (TypeError, ValueError) as error:
        raise call.unsupported(f"it takes {item!r:.80}") from error
    # Leading axes of length 1 say nothing; the batch is one of them.
    while array.ndim > len(like.shape) and array.shape[0] == 1:
        array = array[0]
    if array.ndim > len(like.shape) or np.broadcast_shapes(array.shape, like.shape) != like.shape:
        raise call.unsupported(f"it merges {like.shape} with a constant of shape {array.shape}")
    return graph.constant(f"{call.name}/constant", aligned_constant(array, like))


def _average(call: Call, graph: Builder) -> Tensor:
    """`Average` of any number of tensors."""
    operands = _operands(call)
    total = combine(call, graph, "Add", operands, f"{call.name}/sum")
    return combine(call, graph, "Mul", [total, 1 / len(operands)])


def _floor_divide(call: Call, graph: Builder) -> Tensor:
    """`x // y`."""
    quotient = combine(call, graph, "Div", _operands(call), f"{call.name}/quotient")
    return quotient.replace(graph.node("Floor", [quotient.value], call.name))


def _dot(call: Call, graph: Builder) -> Tensor:
    """`Dot` of two vectors."""
    call.only(normalize=False)
    if [len(tensor.shape) for tensor in call.inputs] != [1, 1]:
        raise call.unsupported(f"it multiplies {[tensor.shape for tensor in call.inputs]}")
    product = combine(call, graph, "Mul", list(call.inputs), f"{call.name}/product")
    return reduce_axes(product, "ReduceSum", [1], graph, call.name, keepdims=True)


def _layer_scale(call: Call, graph: Builder) -> Tensor:
    """`LayerScale` of ConvNeXt: one factor a channel."""
    (gamma,) = call.arrays({"gamma": (int(call.config["projection_dim"]),)})
    return combine(call, graph, "Mul", [call.input, gamma])


def _scaled_residual(call: Call, graph: Builder) -> Tensor:
    """`CustomScaleLayer` of InceptionResNetV2: x + scale * residual."""
    trunk, residual = call.inputs
    scale = float(call.config["scale"])
    if scale != 1:
        residual = combine(call, graph, "Mul", [residual, scale], f"{call.name}/scaled")
    return combine(call, graph, "Add", [trunk, residual])


LAYERS: Final = {
    "Add": _elementwise("Add"),
    "Average": _average,
    "Concatenate": _concatenate,
    "CustomScaleLayer": _scaled_residual,
    "Dot": _dot,
    "LayerScale": _layer_scale,
    "Maximum": _elementwise("Max"),
    "Minimum": _elementwise("Min"),
    "Multiply": _elementwise("Mul"),
    "Subtract": _elementwise("Sub", chained=False),
}

OPERATIONS: Final = {
    "Add": _elementwise("Add"),
    "Concatenate": _concatenate,
    "Divide": _elementwise("Div", chained=False),
    "FloorDivide": _floor_divide,
    "Maximum": _elementwise("Max"),
    "Minimum": _elementwise("Min"),
    "Multiply": _elementwise("Mul"),
    "Power": _elementwise("Pow", chained=False),
    "Stack": _stack,
    "Subtract": _elementwise("Sub", chained=False),
    "TrueDivide": _elementwise("Div", chained=False),
}
