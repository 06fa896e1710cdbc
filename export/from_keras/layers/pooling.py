"""Pooling in two dimensions."""

from typing import Final

from braintumor.export.from_keras.builder import CHANNELS_LAST, Builder
from braintumor.export.from_keras.layers.convolution import map_shape, output_size, pads
from braintumor.export.from_keras.tensor import Call, Tensor

__all__ = ["LAYERS", "OPERATIONS"]


def _max_pooling2d(call: Call, graph: Builder) -> Tensor:
    """`MaxPooling2D`."""
    return _pool(call, graph, "MaxPool")


def _average_pooling2d(call: Call, graph: Builder) -> Tensor:
    """`AveragePooling2D`; padding is not counted."""
    return _pool(call, graph, "AveragePool", count_include_pad=0)


def _pool(call: Call, graph: Builder, op_type: str, count_include_pad: int | None = None) -> Tensor:
    channels, *size = map_shape(call)
    window = _pair(call.config["pool_size"])
    strides = _pair(call.config.get("strides") or window)
    padded = pads(call, size, window, strides)
    height, width = output_size(size, window, strides, padded)
    if min(height, width) < 1:
        raise call.unsupported(f"its input {call.input.shape} is smaller than its window")
    data_format = call.config.get("data_format")
    value = graph.node(
        op_type,
        [graph.channels_first(call.input, data_format)],
        call.name,
        kernel_shape=window,
        strides=strides,
        pads=padded,
        count_include_pad=count_include_pad,
    )
    return graph.map_tensor(value, (channels, height, width), data_format)


def _pair(size: int | list[int]) -> list[int]:
    """Operations keep one number for both directions, layers two."""
    return [size, size] if isinstance(size, int) else list(size)


def _adaptive_average_pooling2d(call: Call, graph: Builder) -> Tensor:
    """`AdaptiveAveragePooling2D`, where the result divides its input evenly."""
    channels, *size = map_shape(call)
    target = _pair(call.config["output_size"])
    if any(length % part for length, part in zip(size, target, strict=True)):
        raise call.unsupported(f"output_size={target} does not divide {size} evenly")
    window = [length // part for length, part in zip(size, target, strict=True)]
    data_format = call.config.get("data_format")
    value = graph.channels_first(call.input, data_format)
    value = graph.node("AveragePool", [value], call.name, kernel_shape=window, strides=window)
    return graph.map_tensor(value, (channels, *target), data_format)


def _global_average_pooling2d(call: Call, graph: Builder) -> Tensor:
    """`GlobalAveragePooling2D`."""
    return _pool_globally(call, graph, "GlobalAveragePool")


def _global_max_pooling2d(call: Call, graph: Builder) -> Tensor:
    """`GlobalMaxPooling2D`."""
    return _pool_globally(call, graph, "GlobalMaxPool")


def _pool_globally(call: Call, graph: Builder, op_type: str) -> Tensor:
    channels, *_ = map_shape(call)
    data_format = call.config.get("data_format") or CHANNELS_LAST
    value = graph.node(op_type, [graph.channels_first(call.input, data_format)], call.name)
    if call.config.get("keepdims"):
        return graph.map_tensor(value, (channels, 1, 1), data_format)
    return Tensor(value, (channels,), is_map=True)


LAYERS: Final = {
    "AdaptiveAveragePooling2D": _adaptive_average_pooling2d,
    "MaxPooling2D": _max_pooling2d,
    "AveragePooling2D": _average_pooling2d,
    "GlobalAveragePooling2D": _global_average_pooling2d,
    "GlobalMaxPooling2D": _global_max_pooling2d,
}

OPERATIONS: Final = {"AveragePool": _average_pooling2d, "MaxPool": _max_pooling2d}
