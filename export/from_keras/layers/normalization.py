"""Normalisation layers with trained statistics or with those of each image."""

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.export.from_keras.builder import Builder
from braintumor.export.from_keras.layers.axes import chosen_axes
from braintumor.export.from_keras.layers.reduction import reduce_axes
from braintumor.export.from_keras.tensor import Call, Tensor

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["LAYERS"]


def _batch_normalization(call: Call, graph: Builder) -> Tensor:
    """`BatchNormalization` with its trained statistics, over any axis."""
    tensor = call.input
    axis = call.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) else axis
    axis = (axis if axis >= 0 else axis + len(tensor.shape) + 1) - 1
    size = (tensor.shape[axis],)
    names = [name for name, key in (("gamma", "scale"), ("beta", "center")) if call.config.get(key, True)]
    shapes = dict.fromkeys([*names, "moving_mean", "moving_variance"], size)
    # A normalisation without gamma or beta has 1 and 0 there.
    arrays = {"gamma": np.ones(size, np.float32), "beta": np.zeros(size, np.float32)}
    arrays |= dict(zip(shapes, call.arrays(shapes), strict=True))
    last = axis == len(tensor.shape) - 1
    value, is_map = _channels_second(tensor, axis, graph)
    if value is None:
        return _scaled(call, graph, axis, arrays)
    constants = [graph.constant(f"{call.layer.layer}/{name}", array) for name, array in arrays.items()]
    epsilon = float(call.config.get("epsilon", 1e-3))
    value = graph.node("BatchNormalization", [value, *constants], call.name, epsilon=epsilon)
    return Tensor(value, tensor.shape, is_map and last)


def _channels_second(tensor: Tensor, axis: int, graph: Builder) -> "tuple[ir.Value | None, bool]":
    """The input with the normalised axis at ONNX's place for channels, 1; None where it has another place."""
    if axis == len(tensor.shape) - 1 and len(tensor.shape) == 3:  # noqa: PLR2004 - height, width, channels
        return graph.channels_first(tensor), True
    if axis == 0:
        return (
            (tensor.value, True) if tensor.is_map and len(tensor.shape) == 1 else (graph.keras_order(tensor), False)
        )
    return None, False


def _scaled(call: Call, graph: Builder, axis: int, arrays: dict[str, NDArray[np.float32]]) -> Tensor:
    """The same as a product and a sum along another axis."""
    tensor = call.input
    shape = [size if index == axis else 1 for index, size in enumerate(tensor.shape)]
    deviation = np.sqrt(arrays["moving_variance"].astype(np.float64) + float(call.config.get("epsilon", 1e-3)))
    scale = arrays["gamma"] / deviation
    offset = arrays["beta"] - arrays["moving_mean"] * scale
    layer = call.layer.layer
    factor = graph.constant(f"{layer}/scale", scale.astype(np.float32).reshape(shape))
    shift = graph.constant(f"{layer}/offset", offset.astype(np.float32).reshape(shape))
    value = graph.node("Mul", [graph.keras_order(tensor), factor], f"{call.name}/scale")
    return Tensor(graph.node("Add", [value, shift], call.name), tensor.shape)


def _layer_normalization(call: Call, graph: Builder) -> Tensor:
    """`LayerNormalization` over the last axis, or over several last ones."""
    call.only(rms_scaling=False)
    tensor = call.input
    rank = len(tensor.shape) + 1
    axes = call.config.get("axis", -1)
    axes = sorted(axis % rank for axis in (axes if isinstance(axes, list) else [axes]))
    if axes != list(range(axes[0], rank)) or axes[0] == 0:
        raise call.unsupported(f"axis={call.config['axis']} is not known to the direct writer")
    inputs = [graph.keras_order(tensor), *_scale_and_shift(call, graph, tensor.shape[axes[0] - 1 :])]
    epsilon = float(call.config.get("epsilon", 1e-3))
    value = graph.node("LayerNormalization", inputs, call.name, axis=axes[0] - rank, epsilon=epsilon)
    return Tensor(value, tensor.shape)


def _scale_and_shift(
    call: Call, graph: Builder, shape: tuple[int, ...], axes: tuple[int, ...] | None = None
) -> "list[ir.Value]":
    """Constants for gamma and beta of a normalisation, 1 and left out where it has none.

    Args:
        call: The layer.
        graph: Gets the constants.
        shape: As Keras stores them.
        axes: Shape that they get instead.
    """
    names = [name for name, key in (("gamma", "scale"), ("beta", "center")) if call.config.get(key, True)]
    arrays = dict(zip(names, call.arrays(dict.fromkeys(names, shape)), strict=True)) if names else {}
    arrays.setdefault("gamma", np.ones(shape, np.float32))
    return [
        graph.constant(f"{call.layer.layer}/{name}", arrays[name].reshape(axes or shape))
        for name in ("gamma", "beta")
        if name in arrays
    ]


def _group_normalization(call: Call, graph: Builder) -> Tensor:
    """`GroupNormalization` over the channels of a map, or of a vector."""
    tensor, layer = call.input, call.layer.layer
    rank, axis = len(tensor.shape) + 1, call.config.get("axis", -1)
    last = axis % rank == rank - 1
    if rank not in {2, 4} or not (last or axis % rank == 1):
        raise call.unsupported(f"axis={axis} of {tensor.shape} is not known to the direct writer")
    channels = tensor.shape[-1 if last else 0]
    groups = channels if call.config.get("groups", 32) == -1 else int(call.config.get("groups", 32))
    is_map = rank == 4 and last  # noqa: PLR2004 - batch, height, width, channels
    value = graph.channels_first(tensor) if is_map else graph.keras_order(tensor)
    full = (channels, *(tensor.shape[:-1] if last else tensor.shape[1:]))
    value = graph.reshape(value, (groups, math.prod(full) // groups), f"{call.name}/groups")
    ones = graph.constant(f"{layer}/ones", np.ones(groups, np.float32))
    zeros = graph.constant(f"{layer}/zeros", np.zeros(groups, np.float32))
    epsilon = float(call.config.get("epsilon", 1e-3))
    value = graph.node("InstanceNormalization", [value, ones, zeros], f"{call.name}/normalized", epsilon=epsilon)
    value = graph.reshape(value, full, f"{call.name}/ungrouped")
    gamma, *beta = _scale_and_shift(call, graph, (channels,), (channels, *(1 for _ in full[1:])))
    value = graph.node("Mul", [value, gamma], f"{call.name}/gamma" if beta else call.name)
    value = graph.node("Add", [value, *beta], call.name) if beta else value
    return Tensor(value, tensor.shape, is_map)


def _unit_normalization(call: Call, graph: Builder) -> Tensor:
    """`UnitNormalization`: vectors of length 1."""
    tensor = call.input
    axes = chosen_axes(call, call.config.get("axis", -1), len(tensor.shape) + 1)
    length = reduce_axes(tensor, "ReduceL2", axes, graph, f"{call.name}/length", keepdims=True)
    smallest = graph.constant(f"{call.name}/smallest", np.array(1e-12, np.float32))
    divisor = graph.node("Max", [length.value, smallest], f"{call.name}/divisor")
    value = tensor.value if tensor.is_map == length.is_map else graph.keras_order(tensor)
    return Tensor(graph.node("Div", [value, divisor], call.name), tensor.shape, length.is_map)


LAYERS: Final = {
    "BatchNormalization": _batch_normalization,
    "GroupNormalization": _group_normalization,
    "LayerNormalization": _layer_normalization,
    "UnitNormalization": _unit_normalization,
}
