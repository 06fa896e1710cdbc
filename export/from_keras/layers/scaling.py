"""Layers that scale pixels."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.export.from_keras.builder import Builder
from braintumor.export.from_keras.tensor import Call, Tensor

__all__ = ["LAYERS", "affine", "aligned_constant"]


def _rescaling(call: Call, graph: Builder) -> Tensor:
    """`Rescaling`: x * scale + offset."""
    scale, offset = _number(call, "scale"), _number(call, "offset")
    return affine(call, graph, scale, offset)


def _normalization(call: Call, graph: Builder) -> Tensor:
    """`Normalization` with the mean and variance of its config, or with adapted ones."""
    call.only(invert=False)
    tensor = call.input
    axes = call.config.get("axis", -1)
    axes = [] if axes is None else axes if isinstance(axes, list) else [axes]
    own_axes = {axis % (len(tensor.shape) + 1) - 1 for axis in axes}
    shape = tuple(size if index in own_axes else 1 for index, size in enumerate(tensor.shape))
    mean, variance = call.config.get("mean"), call.config.get("variance")
    if mean is None:
        own = tuple(tensor.shape[index] for index in sorted(own_axes))
        mean, variance, _ = call.arrays({"mean": own, "variance": own, "count": ()})
    full = [_along(call, np.asarray(item, np.float64), sorted(own_axes), shape) for item in (mean, variance)]
    deviation = np.maximum(np.sqrt(full[1]), 1e-7)
    return affine(call, graph, 1 / deviation, -full[0] / deviation)


def _along(call: Call, item: NDArray[np.float64], axes: list[int], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """A mean or variance along some axes, its last axis at the last of them."""
    if item.ndim > len(axes):
        raise call.unsupported(f"its mean has the shape {item.shape}")
    places = axes[len(axes) - item.ndim :]
    expanded = [1] * len(shape)
    for place, size in zip(places, item.shape, strict=True):
        expanded[place] = size
    return np.broadcast_to(item.reshape(expanded), shape)


def _number(call: Call, key: str) -> NDArray[np.float64]:
    value = call.config[key]
    if isinstance(value, dict):
        value = value.get("config", {}).get("value")
    return np.asarray(value, np.float64)


def affine(call: Call, graph: Builder, scale: NDArray[np.float64], offset: NDArray[np.float64]) -> Tensor:
    """X * scale + offset, as Mul and Add; each is left out where it changes nothing.

    Args:
        call: The layer.
        graph: Gets the nodes.
        scale: Broadcast to the input's Keras shape.
        offset: As `scale`.
    """
    tensor = call.input
    steps = [("Mul", "scale", scale)] * bool((scale != 1).any()) + [("Add", "offset", offset)] * bool(offset.any())
    if max(scale.ndim, offset.ndim) > len(tensor.shape):
        raise call.unsupported(f"it scales {tensor.shape} by {scale.shape}")
    value = tensor.value
    for index, (op_type, name, factor) in enumerate(steps):
        constant = graph.constant(f"{call.layer.layer}/{name}", aligned_constant(factor, tensor).astype(np.float32))
        value = graph.node(
            op_type, [value, constant], call.name if index == len(steps) - 1 else f"{call.name}/{name}"
        )
    return Tensor(value, tensor.shape, tensor.is_map)


def aligned_constant(constant: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    """A constant that broadcasts to a tensor's Keras shape, in the order of axes of the tensor's value."""
    if constant.ndim == 0 or not tensor.is_map:
        return constant
    if len(tensor.shape) == 1:
        return constant.reshape(-1, 1, 1)
    return constant.reshape((1,) * (3 - constant.ndim) + constant.shape).transpose(2, 0, 1)


LAYERS: Final = {"Rescaling": _rescaling, "Normalization": _normalization}
