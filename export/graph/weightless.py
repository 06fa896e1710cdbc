"""Graphs without the values of their weights, which ONNX's checks and converters copy several times and never read.

A weight is a large constant; without its values it is an input of the same name, type and shape.
"""

from collections.abc import Callable, Collection
from typing import Any, Final

import onnx
from onnx import TensorProto, helper

__all__ = ["complete", "is_weight", "put_back", "weightless"]

# Shapes, axes and pads are read by shape inference, and are smaller.
_FROM_VALUES: Final = 256


def is_weight(tensor: onnx.TensorProto) -> bool:
    """Whether a constant is large, and not of the type of shapes."""
    values = 1
    for size in tensor.dims:
        values *= size
    return values >= _FROM_VALUES and tensor.data_type != TensorProto.INT64


def weightless(model: onnx.ModelProto, names: Collection[str] | None = None) -> onnx.ModelProto:
    """A copy of a model without the values of its weights.

    Args:
        model: The model.
        names: Of the constants to leave out; None for all weights.

    Returns:
        A model in which each of them is an input, behind the model's own inputs.
    """
    light = onnx.ModelProto()
    _copy_fields(model, light, skipped="graph")
    _copy_fields(model.graph, light.graph, skipped="initializer")
    for tensor in model.graph.initializer:
        if tensor.name in names if names is not None else is_weight(tensor):
            light.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        else:
            light.graph.initializer.append(tensor)
    return light


def put_back(
    light: onnx.ModelProto,
    full: onnx.ModelProto,
    names: Collection[str],
    change: Callable[[onnx.TensorProto], onnx.TensorProto] = lambda tensor: tensor,
) -> None:
    """Put the weights back into a graph that was rewritten without them; in place, all constants in their old order.

    Args:
        light: Made from `weightless(full, names)`.
        full: The model with the weights.
        names: Of the constants that were left out; unread ones stay out.
        change: Returns the tensor to put back for each of them, under the same name.
    """
    read = {name for node in light.graph.node for name in node.input}
    constants = {
        tensor.name: onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in light.graph.initializer
    }
    inputs = [value for value in light.graph.input if value.name not in names]
    del light.graph.initializer[:], light.graph.input[:]
    light.graph.input.extend(inputs)
    for tensor in full.graph.initializer:
        if tensor.name not in names:
            light.graph.initializer.append(constants[tensor.name])
        elif tensor.name in read:
            light.graph.initializer.append(change(tensor))


def complete(model: onnx.ModelProto) -> None:
    """Check a model and note the type and shape of each of its tensors; in place.

    Raises:
        onnx.checker.ValidationError, onnx.shape_inference.InferenceError: It is not a valid ONNX model.
    """
    del model.graph.value_info[:]
    light = onnx.shape_inference.infer_shapes(weightless(model), strict_mode=True)
    onnx.checker.check_model(light, full_check=True)
    model.graph.value_info.extend(light.graph.value_info)


def _copy_fields(source: Any, target: Any, skipped: str) -> None:
    for field, value in source.ListFields():
        if field.name == skipped:
            continue
        if isinstance(value, int | float | str | bytes):
            setattr(target, field.name, value)
        else:
            getattr(target, field.name).extend(value)
