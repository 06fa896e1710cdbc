"""Layers that arrange values anew: padding, cropping, reshaping."""

import math
from typing import Final

from braintumor.export.from_keras.builder import Builder
from braintumor.export.from_keras.layers.convolution import map_shape
from braintumor.export.from_keras.tensor import Call, Tensor

__all__ = ["LAYERS"]


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
        rest = math.prod(size for size in target if size != -1)
        target[target.index(-1)] = math.prod(tensor.shape) // rest
    shape = tuple(target)
    if shape == tensor.shape:
        return tensor
    if tensor.is_map and _is_vector(tensor.shape) and _is_vector(shape):
        return Tensor(tensor.value, shape, is_map=True)
    return Tensor(graph.reshape(graph.keras_order(tensor), shape, call.name), shape)


def _is_vector(shape: tuple[int, ...]) -> bool:
    """(C,) or (1, 1, C): both are [batch, C, 1, 1] as a map."""
    return len(shape) == 1 or (len(shape) == 3 and shape[:2] == (1, 1))  # noqa: PLR2004 - a map


def _permute(call: Call, graph: Builder) -> Tensor:
    """`Permute`; it counts axes from 1, without the batch."""
    tensor, dims = call.input, list(call.config["dims"])
    value = graph.node("Transpose", [graph.keras_order(tensor)], call.name, perm=[0, *dims])
    return Tensor(value, tuple(tensor.shape[axis - 1] for axis in dims))


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
    given = [graph.integers(f"{call.name}/{key}", numbers) for key, numbers in bounds.items()]
    value = graph.node("Slice", [value, *given], call.name)
    return graph.map_tensor(
        value, (channels, height - top - bottom, width - left - right), call.config.get("data_format")
    )


LAYERS: Final = {
    "Cropping2D": _cropping2d,
    "Flatten": _flatten,
    "Permute": _permute,
    "Reshape": _reshape,
    "ZeroPadding2D": _zero_padding2d,
}
