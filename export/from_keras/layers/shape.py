"""Layers that rearrange values: padding, cropping, reshaping."""

import math
from typing import Any, Final

import numpy as np

from braintumor.export.from_keras.builder import Builder
from braintumor.export.from_keras.layers.axes import chosen_axes, permuted, reshaped, value_axis
from braintumor.export.from_keras.layers.convolution import map_shape
from braintumor.export.from_keras.tensor import Call, Tensor

__all__ = ["LAYERS", "OPERATIONS"]


def _flatten(call: Call, graph: Builder) -> Tensor:
    """`Flatten`, in Keras's order of axes."""
    tensor = call.input
    size = math.prod(tensor.shape)
    if len(tensor.shape) == 1:
        return tensor
    if tensor.is_map and tensor.shape[:2] == (1, 1):
        return Tensor(tensor.value, (size,), is_map=True)
    value = graph.keras_order(tensor)
    if call.config.get("data_format") == "channels_first":
        last = [0, *range(2, len(tensor.shape) + 1), 1]
        value = graph.node("Transpose", [value], f"{call.name}/channels_last", perm=last)
    return Tensor(graph.node("Flatten", [value], call.name, axis=1), (size,))


def _reshape(call: Call, graph: Builder) -> Tensor:
    """`Reshape`, in Keras's order of axes."""
    tensor = call.input
    target = list(call.config["target_shape"])
    if -1 in target:
        known = math.prod(size for size in target if size != -1)
        target[target.index(-1)] = math.prod(tensor.shape) // known
    return reshaped(tensor, tuple(target), graph, call.name)


def _reshape_operation(call: Call, graph: Builder) -> Tensor:
    """`reshape`, which leaves the batch as it is."""
    tensor, (batch, *shape) = call.input, call.config["newshape"]
    if batch != -1 or -1 in shape or math.prod(shape) != math.prod(tensor.shape):
        raise call.unsupported(f"newshape={call.config['newshape']} is not known to the direct writer")
    return reshaped(tensor, tuple(shape), graph, call.name)


def _expand_dims(call: Call, graph: Builder) -> Tensor:
    """`expand_dims` by one axis or several."""
    axis = call.config.get("axis")
    count = len(axis) if isinstance(axis, list) else 1
    axes = chosen_axes(call, axis, len(call.input.shape) + 1 + count)
    shape = list(call.input.shape)
    for place in axes:
        shape.insert(place - 1, 1)
    return reshaped(call.input, tuple(shape), graph, call.name)


def _squeeze(call: Call, graph: Builder) -> Tensor:
    """`squeeze` of one axis or several."""
    tensor = call.input
    axis = call.config.get("axis")
    if axis is None:
        axis = [index + 1 for index, size in enumerate(tensor.shape) if size == 1]
    axes = chosen_axes(call, axis, len(tensor.shape) + 1)
    shape = tuple(size for index, size in enumerate(tensor.shape) if index + 1 not in axes)
    return reshaped(tensor, shape, graph, call.name)


def _repeat_vector(call: Call, graph: Builder) -> Tensor:
    """`RepeatVector`: (C,) as (n, C)."""
    (channels,), count = call.input.shape, int(call.config["n"])
    value = graph.reshape(graph.keras_order(call.input), (1, channels), f"{call.name}/row")
    tiled = graph.node("Tile", [value, graph.integers(f"{call.name}/repeats", [1, count, 1])], call.name)
    return Tensor(tiled, (count, channels))


def _permute(call: Call, graph: Builder) -> Tensor:
    """`Permute`; it counts axes from 1, without the batch."""
    return permuted(call.input, [0, *call.config["dims"]], graph, call.name)


def _transpose(call: Call, graph: Builder) -> Tensor:
    """`transpose`, `swapaxes` and `moveaxis`, which leave the batch as it is."""
    config, rank = call.config, len(call.input.shape) + 1
    order = list(range(rank))
    if call.layer.class_name == "Transpose":
        order = [axis % rank for axis in config.get("axes") or reversed(order)]
    elif call.layer.class_name == "Swapaxes":
        first, second = int(config["axis1"]) % rank, int(config["axis2"]) % rank
        order[first], order[second] = second, first
    else:
        moved, places = (_listed(config[key]) for key in ("source", "destination"))
        order = [axis for axis in order if axis not in {item % rank for item in moved}]
        for place, axis in sorted(zip(places, moved, strict=True), key=lambda pair: pair[0] % rank):
            order.insert(place % rank, axis % rank)
    if order[0] != 0:
        raise call.unsupported("it moves the batch")
    return permuted(call.input, order, graph, call.name)


def _listed(axes: Any) -> list[int]:
    return list(axes) if isinstance(axes, list) else [axes]


def _tile(call: Call, graph: Builder) -> Tensor:
    """`tile`, and `repeat` along an axis of length 1."""
    tensor, rank = call.input, len(call.input.shape) + 1
    repeats = call.config.get("repeats")
    if call.layer.class_name == "Repeat":
        (axis,) = chosen_axes(call, call.config.get("axis"), rank)
        if tensor.shape[axis - 1] != 1 or not isinstance(repeats, int):
            raise call.unsupported(f"it repeats {tensor.shape} along axis {axis}")
        repeats = [repeats if index == axis else 1 for index in range(rank)]
    if not isinstance(repeats, list) or len(repeats) != rank or repeats[0] != 1:
        raise call.unsupported(f"repeats={repeats} is not known to the direct writer")
    counts = [1] * (4 if tensor.is_map else rank)
    for axis, count in enumerate(repeats):
        counts[value_axis(tensor, axis)] = count
    shape = tuple(size * count for size, count in zip(tensor.shape, repeats[1:], strict=True))
    value = graph.node("Tile", [tensor.value, graph.integers(f"{call.name}/repeats", counts)], call.name)
    return Tensor(value, shape, tensor.is_map, tensor.dtype)


def _pad(call: Call, graph: Builder) -> Tensor:
    """`pad` with a constant."""
    call.only(mode="constant")
    tensor, widths = call.input, call.config["pad_width"]
    rank = len(tensor.shape) + 1
    if not isinstance(widths, list) or len(widths) != rank or any(widths[0]):
        raise call.unsupported(f"pad_width={widths} is not known to the direct writer")
    fill = call.kwargs.get("constant_values")
    before, behind = ([0] * (4 if tensor.is_map else rank) for _ in range(2))
    for axis, (first, last) in enumerate(widths):
        before[value_axis(tensor, axis)], behind[value_axis(tensor, axis)] = first, last
    inputs = [tensor.value, graph.integers(f"{call.name}/pads", [*before, *behind])]
    if fill:
        inputs.append(graph.constant(f"{call.name}/fill", np.array(fill, np.float32)))
    shape = tuple(size + first + last for size, (first, last) in zip(tensor.shape, widths[1:], strict=True))
    return Tensor(graph.node("Pad", inputs, call.name, mode="constant"), shape, tensor.is_map)


def _zero_padding2d(call: Call, graph: Builder) -> Tensor:
    """`ZeroPadding2D`."""
    channels, height, width = map_shape(call)
    (top, bottom), (left, right) = call.config["padding"]
    pads = graph.integers(f"{call.name}/pads", [0, 0, top, left, 0, 0, bottom, right])
    value = graph.channels_first(call.input, call.config.get("data_format"))
    value = graph.node("Pad", [value, pads], call.name, mode="constant")
    return graph.map_tensor(
        value, (channels, height + top + bottom, width + left + right), call.config.get("data_format")
    )


def _cropping2d(call: Call, graph: Builder) -> Tensor:
    """`Cropping2D`."""
    channels, height, width = map_shape(call)
    (top, bottom), (left, right) = call.config["cropping"]
    value = graph.channels_first(call.input, call.config.get("data_format"))
    bounds = {"starts": [top, left], "ends": [height - bottom, width - right], "axes": [2, 3]}
    limits = [graph.integers(f"{call.name}/{key}", numbers) for key, numbers in bounds.items()]
    value = graph.node("Slice", [value, *limits], call.name)
    return graph.map_tensor(
        value, (channels, height - top - bottom, width - left - right), call.config.get("data_format")
    )


LAYERS: Final = {
    "Cropping2D": _cropping2d,
    "Flatten": _flatten,
    "Permute": _permute,
    "RepeatVector": _repeat_vector,
    "Reshape": _reshape,
    "ZeroPadding2D": _zero_padding2d,
}

OPERATIONS: Final = {
    "ExpandDims": _expand_dims,
    "Moveaxis": _transpose,
    "Pad": _pad,
    "Repeat": _tile,
    "Reshape": _reshape_operation,
    "Squeeze": _squeeze,
    "Swapaxes": _transpose,
    "Tile": _tile,
    "Transpose": _transpose,
}
