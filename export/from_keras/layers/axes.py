"""Keras's axes, and the axes of the ONNX value that holds a tensor. The batch is axis 0 in both."""

import math
from collections.abc import Sequence
from typing import Any, Final

from braintumor.export.from_keras.builder import Builder
from braintumor.export.from_keras.tensor import Call, Tensor

__all__ = ["chosen_axes", "permuted", "reshaped", "value_axis"]

_MAP_RANK: Final = 3
_MAP_ORDER: Final = (0, 3, 1, 2)


def chosen_axes(call: Call, axes: Any, rank: int) -> list[int]:
    """The axes of a config as numbers from 1 up, in ascending order.

    Args:
        call: The layer, for messages.
        axes: A number or several; negative ones count from the end.
        rank: Number of axes, the batch included.

    Raises:
        UnsupportedLayerError: One of them is the batch, or there is none.
    """
    listed = axes if isinstance(axes, list | tuple) else [axes]
    if not listed or not all(isinstance(axis, int) and -rank <= axis < rank and axis % rank for axis in listed):
        raise call.unsupported(f"axis={axes} of {rank} axes is not known to the direct writer")
    return sorted(axis % rank for axis in listed)


def value_axis(tensor: Tensor, axis: int) -> int:
    """The axis of a tensor's value for an axis of Keras, 0 or more."""
    return _stored(tensor).index(axis)


def permuted(tensor: Tensor, order: Sequence[int], graph: Builder, name: str) -> Tensor:
    """A tensor whose axes are those of another one in a new order.

    Args:
        tensor: The other one.
        order: For each axis of the result the axis that it takes, with the batch: (0, 3, 1, 2).
        graph: Gets a Transpose, if the values have to move.
        name: Of the node.
    """
    shape = tuple(tensor.shape[axis - 1] for axis in order[1:])
    stored = _stored(tensor)
    if len(shape) == _MAP_RANK and [order[axis] for axis in _MAP_ORDER] == stored:
        return Tensor(tensor.value, shape, is_map=True)
    perm = [stored.index(axis) for axis in order]
    if perm == list(range(len(perm))):
        return Tensor(tensor.value, shape)
    return Tensor(graph.node("Transpose", [tensor.value], name, perm=perm), shape)


def reshaped(tensor: Tensor, shape: tuple[int, ...], graph: Builder, name: str) -> Tensor:
    """A tensor of another shape with the same values in Keras's order.

    Args:
        tensor: The tensor to reshape.
        shape: Without the batch; of the same size.
        graph: Gets a Reshape, if there is something to do.
        name: Of the node.
    """
    if shape == tensor.shape:
        return tensor
    if tensor.is_map and _is_vector(tensor.shape) and _is_vector(shape):
        return Tensor(tensor.value, shape, is_map=True)
    value = graph.keras_order(tensor)
    if _is_vector(shape) and len(shape) > 1:
        return Tensor(graph.reshape(value, (math.prod(shape), 1, 1), name), shape, is_map=True)
    if len(shape) == _MAP_RANK and shape[2] == 1:
        return Tensor(graph.reshape(value, (1, *shape[:2]), name), shape, is_map=True)
    return Tensor(graph.reshape(value, shape, name), shape)


def _stored(tensor: Tensor) -> list[int]:
    """Keras's axes in the order in which the value has them."""
    rank = len(tensor.shape) + 1
    return list(_MAP_ORDER) if tensor.is_map and rank > 2 else list(range(rank))  # noqa: PLR2004 - batch and channels


def _is_vector(shape: tuple[int, ...]) -> bool:
    """(C,) or (1, 1, C): both are [batch, C, 1, 1] as a map."""
    return len(shape) == 1 or (len(shape) == _MAP_RANK and shape[:2] == (1, 1))
