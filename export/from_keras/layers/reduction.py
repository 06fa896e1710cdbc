"""Operations that reduce axes to one value: mean, sum, maximum and the like."""

from typing import TYPE_CHECKING, Any, Final

from braintumor.export.from_keras.builder import Builder
from braintumor.export.from_keras.layers.axes import chosen_axes, value_axis
from braintumor.export.from_keras.tensor import Call, Tensor

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["OPERATIONS", "reduce_axes"]

_SPATIAL: Final = [1, 2]

_OPERATORS: Final = {
    "Amax": "ReduceMax",
    "Amin": "ReduceMin",
    "Logsumexp": "ReduceLogSumExp",
    "Max": "ReduceMax",
    "Mean": "ReduceMean",
    "Min": "ReduceMin",
    "Prod": "ReduceProd",
    "Sum": "ReduceSum",
}


def reduce_axes(
    tensor: Tensor, op_type: str, axes: list[int], graph: Builder, name: str, *, keepdims: bool
) -> Tensor:
    """Append one reduction.

    Args:
        tensor: The tensor to reduce.
        op_type: "ReduceMean", …
        axes: Keras's, without the batch.
        graph: Gets the node.
        name: Of the node.
        keepdims: Reduced axes stay, with length 1.
    """
    over_map = tensor.is_map and len(tensor.shape) == 3 and axes == _SPATIAL  # noqa: PLR2004 - height, width, channels
    if over_map and not keepdims:
        return Tensor(_reduce(tensor.value, op_type, [2, 3], graph, name, 1), tensor.shape[2:], is_map=True)
    if keepdims and len(tensor.shape) > 1:
        places = sorted(value_axis(tensor, axis) for axis in axes)
        shape = tuple(1 if index + 1 in axes else size for index, size in enumerate(tensor.shape))
        return Tensor(_reduce(tensor.value, op_type, places, graph, name, 1), shape, tensor.is_map)
    shape = tuple(size for index, size in enumerate(tensor.shape) if index + 1 not in axes)
    shape = (1,) if keepdims else shape
    return Tensor(_reduce(graph.keras_order(tensor), op_type, axes, graph, name, int(keepdims)), shape)


def _reduce(value: "ir.Value", op_type: str, axes: list[int], graph: Builder, name: str, keepdims: int) -> "ir.Value":
    if axes == [2, 3] and keepdims and op_type in {"ReduceMean", "ReduceMax"}:
        return graph.node("GlobalAveragePool" if op_type == "ReduceMean" else "GlobalMaxPool", [value], name)
    # At opset 18 all reductions take their axes as an input.
    return graph.node(op_type, [value, graph.integers(f"{name}/axes", axes)], name, keepdims=keepdims)


def _options(call: Call) -> tuple[list[int], bool]:
    """The axes of a reduction and whether they stay."""
    call.only(initial=None)
    axes = chosen_axes(call, call.config.get("axis"), len(call.input.shape) + 1)
    return axes, bool(call.config.get("keepdims"))


def _reduction(call: Call, graph: Builder) -> Tensor:
    """`mean`, `sum`, `max`, …, along one axis or several."""
    axes, keepdims = _options(call)
    op_type = _OPERATORS[call.layer.class_name]
    return reduce_axes(call.input, op_type, axes, graph, call.name, keepdims=keepdims)


def _norm(call: Call, graph: Builder) -> Tensor:
    """`norm` of vectors, of order 2 or 1."""
    axes, keepdims = _options(call)
    order = call.config.get("ord")
    operators: dict[Any, str] = {None: "ReduceL2", 2: "ReduceL2", 1: "ReduceL1"}
    if order not in operators or (order is not None and len(axes) > 1):
        raise call.unsupported(f"ord={order!r} is not known to the direct writer")
    return reduce_axes(call.input, operators[order], axes, graph, call.name, keepdims=keepdims)


def _variance(call: Call, graph: Builder) -> Tensor:
    """`var` and `std`."""
    axes, keepdims = _options(call)
    tensor, name = call.input, call.name
    deviation = call.layer.class_name == "Std"
    mean = reduce_axes(tensor, "ReduceMean", axes, graph, f"{name}/mean", keepdims=True)
    mean_value = graph.channels_first(mean) if tensor.is_map else graph.keras_order(mean)
    centred = graph.node("Sub", [tensor.value, mean_value], f"{name}/centred")
    squared = tensor.replace(graph.node("Mul", [centred, centred], f"{name}/squared"))
    variance = f"{name}/variance" if deviation else name
    result = reduce_axes(squared, "ReduceMean", axes, graph, variance, keepdims=keepdims)
    return result.replace(graph.node("Sqrt", [result.value], name)) if deviation else result


OPERATIONS: Final = {
    **dict.fromkeys(_OPERATORS, _reduction),
    "Norm": _norm,
    "Std": _variance,
    "Var": _variance,
}
