"""Convolutions in two dimensions."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from braintumor.export.from_keras.builder import Builder
from braintumor.export.from_keras.layers.activation import activate
from braintumor.export.from_keras.tensor import Call, Tensor

__all__ = ["LAYERS", "map_shape", "output_size", "pads"]

_MAP_RANK: Final = 3


def map_shape(call: Call) -> tuple[int, int, int]:
    """Channels, height and width of the call's input.

    Raises:
        UnsupportedLayerError: It is not a map.
    """
    shape = call.input.shape
    if len(shape) != _MAP_RANK:
        raise call.unsupported(f"it takes {shape}, not a map of height, width and channels")
    if call.config.get("data_format") == "channels_first":
        return shape[0], shape[1], shape[2]
    return shape[2], shape[0], shape[1]


def pads(call: Call, size: Sequence[int], window: Sequence[int], strides: Sequence[int]) -> list[int]:
    """Rows and columns added at (top, left, bottom, right), as TensorFlow computes them for this size.

    Args:
        call: The layer, whose config has `padding`.
        size: Height and width of the input.
        window: Height and width that one output sees, dilation included.
        strides: In both directions.
    """
    padding = call.config.get("padding", "valid")
    if padding == "valid":
        return [0, 0, 0, 0]
    if padding != "same":
        raise call.unsupported(f"padding={padding!r} is not known to the direct writer")
    totals = [
        max((math.ceil(length / stride) - 1) * stride + seen - length, 0)
        for length, seen, stride in zip(size, window, strides, strict=True)
    ]
    before = [total // 2 for total in totals]
    return [*before, *(total - first for total, first in zip(totals, before, strict=True))]


def output_size(
    size: Sequence[int], window: Sequence[int], strides: Sequence[int], padded: Sequence[int]
) -> tuple[int, int]:
    """Height and width of the result of a window that moves over a padded map."""
    height, width = (
        (size[axis] + padded[axis] + padded[axis + 2] - window[axis]) // strides[axis] + 1 for axis in (0, 1)
    )
    return height, width


def _conv2d(call: Call, graph: Builder) -> Tensor:
    """`Conv2D`."""
    channels, *_ = map_shape(call)
    config = call.config
    filters, groups = int(config["filters"]), int(config.get("groups", 1))
    shapes = {"kernel": (*config["kernel_size"], channels // groups, filters)}
    kernel, *bias = call.arrays(shapes | _bias_shape(call, filters))
    result = _convolve(call, graph, kernel.transpose(3, 2, 0, 1), bias, groups)
    return activate(result, call, graph)


def _depthwise_conv2d(call: Call, graph: Builder) -> Tensor:
    """`DepthwiseConv2D`: each channel alone, `depth_multiplier` results a channel."""
    channels, *_ = map_shape(call)
    multiplier = int(call.config.get("depth_multiplier", 1))
    shapes = {"kernel": (*call.config["kernel_size"], channels, multiplier)}
    kernel, *bias = call.arrays(shapes | _bias_shape(call, channels * multiplier))
    result = _convolve(call, graph, _depthwise(kernel), bias, channels)
    return activate(result, call, graph)


def _separable_conv2d(call: Call, graph: Builder) -> Tensor:
    """`SeparableConv2D`: a depthwise convolution, then one of 1 x 1."""
    channels, *_ = map_shape(call)
    multiplier, filters = int(call.config.get("depth_multiplier", 1)), int(call.config["filters"])
    shapes = {
        "depthwise_kernel": (*call.config["kernel_size"], channels, multiplier),
        "pointwise_kernel": (1, 1, channels * multiplier, filters),
    }
    depthwise, pointwise, *bias = call.arrays(shapes | _bias_shape(call, filters))
    inner = _convolve(call, graph, _depthwise(depthwise), [], channels, part="depthwise")
    inputs = [
        graph.channels_first(inner, call.config.get("data_format")),
        graph.constant(f"{call.layer.layer}/pointwise_kernel", pointwise.transpose(3, 2, 0, 1)),
        *(graph.constant(f"{call.layer.layer}/bias", item) for item in bias),
    ]
    value = graph.node("Conv", inputs, call.name, kernel_shape=[1, 1])
    height, width = inner.shape[1:] if call.config.get("data_format") == "channels_first" else inner.shape[:2]
    result = graph.map_tensor(value, (filters, height, width), call.config.get("data_format"))
    return activate(result, call, graph)


def _conv2d_transpose(call: Call, graph: Builder) -> Tensor:
    """`Conv2DTranspose`: the gradient of a convolution by its input."""
    channels, *size = map_shape(call)
    config, layer, filters = call.config, call.layer.layer, int(call.config["filters"])
    shapes = {"kernel": (*config["kernel_size"], filters, channels)} | _bias_shape(call, filters)
    kernel, *bias = call.arrays(shapes)
    strides, dilations = list(config.get("strides", (1, 1))), list(config.get("dilation_rate", (1, 1)))
    paddings = config.get("output_padding") or [None, None]
    spans = [
        _transposed_span(call, *direction)
        for direction in zip(size, kernel.shape[:2], strides, dilations, paddings, strict=True)
    ]
    inputs = [
        graph.channels_first(call.input, config.get("data_format")),
        graph.constant(f"{layer}/kernel", kernel.transpose(3, 2, 0, 1)),
        *(graph.constant(f"{layer}/bias", item) for item in bias),
    ]
    (height, width), before, behind, added = ([span[index] for span in spans] for index in range(4))
    value = graph.node(
        "ConvTranspose",
        inputs,
        call.name,
        kernel_shape=list(kernel.shape[:2]),
        strides=strides,
        dilations=dilations,
        pads=[*before, *behind],
        output_padding=added,
    )
    return activate(graph.map_tensor(value, (filters, height, width), config.get("data_format")), call, graph)


def _transposed_span(
    call: Call, size: int, kernel: int, stride: int, dilation: int, padding: int | None
) -> tuple[int, int, int, int]:
    """Size of the result, what is cut off before and behind, and what is added behind, in one direction.

    As `keras.src.backend.common.backend_utils` computes the size and TensorFlow the place.
    """
    seen = (kernel - 1) * dilation + 1
    full = (size - 1) * stride + seen
    if call.config.get("padding", "valid") == "valid":
        result = full + (max(stride - seen, 0) if padding is None else padding)
    else:
        result = size * stride if padding is None else (size - 1) * stride + seen % 2 + padding
    cut = max(full - result, 0)
    if call.config.get("padding", "valid") == "valid" and cut:
        raise call.unsupported(f"output_padding={padding} is not known to the direct writer")
    return result, cut // 2, cut - cut // 2, max(result - full, 0)


def _bias_shape(call: Call, filters: int) -> dict[str, tuple[int, ...]]:
    return {"bias": (filters,)} if call.config.get("use_bias", True) else {}


def _depthwise(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """[H, W, channels, multiplier] as ONNX's [channels x multiplier, 1, H, W]."""
    height, width, channels, multiplier = kernel.shape
    return kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)


def _convolve(
    call: Call,
    graph: Builder,
    kernel: NDArray[np.float32],
    bias: Sequence[NDArray[np.float32]],
    groups: int,
    part: str = "",
) -> Tensor:
    """One Conv node; `part` names a convolution inside of a layer."""
    _, *size = map_shape(call)
    data_format = call.config.get("data_format")
    strides = list(call.config.get("strides", (1, 1)))
    dilations = list(call.config.get("dilation_rate", (1, 1)))
    kernel_size = kernel.shape[2:]
    window = [(seen - 1) * dilation + 1 for seen, dilation in zip(kernel_size, dilations, strict=True)]
    padded = pads(call, size, window, strides)
    height, width = output_size(size, window, strides, padded)
    if min(height, width) < 1:
        raise call.unsupported(f"its input {call.input.shape} is smaller than its kernel")
    layer = call.layer.layer
    inputs = [
        graph.channels_first(call.input, data_format),
        graph.constant(f"{layer}/{part}_kernel" if part else f"{layer}/kernel", kernel),
        *(graph.constant(f"{layer}/bias", item) for item in bias),
    ]
    value = graph.node(
        "Conv",
        inputs,
        f"{call.name}/{part}" if part else call.name,
        kernel_shape=list(kernel_size),
        strides=strides,
        dilations=dilations,
        pads=padded,
        group=groups,
    )
    return graph.map_tensor(value, (kernel.shape[0], height, width), data_format)


LAYERS: Final = {
    "Conv2D": _conv2d,
    "Conv2DTranspose": _conv2d_transpose,
    "DepthwiseConv2D": _depthwise_conv2d,
    "SeparableConv2D": _separable_conv2d,
}
