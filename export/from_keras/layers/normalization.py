"""Normalisation layers with trained statistics or with those of each image."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from braintumor.export.from_keras.builder import Builder
from braintumor.export.from_keras.tensor import Call, Tensor

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
    found = dict(zip(shapes, call.arrays(shapes), strict=True))
    gamma, beta = found.get("gamma", np.ones(size, np.float32)), found.get("beta", np.zeros(size, np.float32))
    last = axis == len(tensor.shape) - 1
    arrays = {"gamma": gamma, "beta": beta, "mean": found["moving_mean"], "variance": found["moving_variance"]}
    value, is_map = _channels_second(tensor, axis, graph)
    if value is None:
        return _scaled(call, graph, axis, arrays)
    constants = [graph.constant(f"{call.layer.layer}/{name}", array) for name, array in arrays.items()]
    epsilon = float(call.config.get("epsilon", 1e-3))
    value = graph.node("BatchNormalization", [value, *constants], call.name, epsilon=epsilon)
    return Tensor(value, tensor.shape, is_map and last)


def _channels_second(tensor: Tensor, axis: int, graph: Builder) -> tuple[object, bool]:
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
    deviation = np.sqrt(arrays["variance"].astype(np.float64) + float(call.config.get("epsilon", 1e-3)))
    scale = arrays["gamma"] / deviation
    offset = arrays["beta"] - arrays["mean"] * scale
    layer = call.layer.layer
    factor = graph.constant(f"{layer}/scale", scale.astype(np.float32).reshape(shape))
    shift = graph.constant(f"{layer}/offset", offset.astype(np.float32).reshape(shape))
    value = graph.node("Mul", [graph.keras_order(tensor), factor], f"{call.name}/scale")
    return Tensor(graph.node("Add", [value, shift], call.name), tensor.shape)


LAYERS: Final = {"BatchNormalization": _batch_normalization}
