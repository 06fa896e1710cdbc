"""Layers that change the height and width of a map by interpolation."""

from typing import TYPE_CHECKING, Any, Final

from braintumor.export.from_keras.builder import Builder
from braintumor.export.from_keras.layers.convolution import map_shape
from braintumor.export.from_keras.tensor import Call, Tensor

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["LAYERS", "OPERATIONS"]

# TensorFlow samples at the centres of pixels. Its bicubic weights come from a table, which ONNX's do not match.
_MODES: Final = {
    "bilinear": {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
    "nearest": {
        "mode": "nearest",
        "coordinate_transformation_mode": "half_pixel",
        "nearest_mode": "round_prefer_ceil",
    },
}


def _resized(call: Call, graph: Builder, value: "ir.Value", size: tuple[int, int], **attributes: Any) -> "ir.Value":
    """A map [batch, C, H, W] at another height and width."""
    interpolation = call.config.get("interpolation", "bilinear")
    if interpolation not in _MODES:
        raise call.unsupported(f"interpolation={interpolation!r} is not known to the direct writer")
    channels, *_ = map_shape(call)
    sizes = graph.integers(f"{call.name}/sizes", [channels, *size])
    mode = _MODES[interpolation]
    return graph.node("Resize", [value, None, None, sizes], call.name, axes=[1, 2, 3], **mode, **attributes)


def _up_sampling2d(call: Call, graph: Builder) -> Tensor:
    """`UpSampling2D`, nearest or bilinear."""
    channels, height, width = map_shape(call)
    rows, columns = call.config["size"]
    data_format = call.config.get("data_format")
    size = (height * rows, width * columns)
    value = _resized(call, graph, graph.channels_first(call.input, data_format), size)
    return graph.map_tensor(value, (channels, *size), data_format)


def _resizing(call: Call, graph: Builder) -> Tensor:
    """`Resizing` and `image.resize`, nearest or bilinear."""
    call.only(crop_to_aspect_ratio=False, pad_to_aspect_ratio=False, antialias=False)
    channels, height, width = map_shape(call)
    target = call.config.get("size") or (call.config["height"], call.config["width"])
    size = (int(target[0]), int(target[1]))
    if (height, width) == size:
        return call.input
    data_format = call.config.get("data_format")
    value = _resized(call, graph, graph.channels_first(call.input, data_format), size)
    return graph.map_tensor(value, (channels, *size), data_format)


def _center_crop(call: Call, graph: Builder) -> Tensor:
    """`CenterCrop` of a map that is not smaller."""
    channels, height, width = map_shape(call)
    size = (int(call.config["height"]), int(call.config["width"]))
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    if min(top, left) < 0:
        raise call.unsupported(f"it crops {(height, width)} to {size}, which resizes")
    data_format = call.config.get("data_format")
    bounds = {"starts": [top, left], "ends": [top + size[0], left + size[1]], "axes": [2, 3]}
    limits = [graph.integers(f"{call.name}/{key}", numbers) for key, numbers in bounds.items()]
    value = graph.node("Slice", [graph.channels_first(call.input, data_format), *limits], call.name)
    return graph.map_tensor(value, (channels, *size), data_format)


LAYERS: Final = {"CenterCrop": _center_crop, "Resizing": _resizing, "UpSampling2D": _up_sampling2d}

OPERATIONS: Final = {"Resize": _resizing}
