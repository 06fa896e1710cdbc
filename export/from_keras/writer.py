"""A Keras graph and its weights as an ONNX model."""

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import ModelError, UnsupportedLayerError
from braintumor.export.from_keras.builder import Builder
from braintumor.export.from_keras.graph import KerasGraph, LayerCall, TensorRef, map_structure
from braintumor.export.from_keras.layers import INTEGER_INPUT, LAYERS, OPERATIONS, LayerFunction
from braintumor.export.from_keras.tensor import Call, Tensor
from braintumor.export.from_keras.weights import WeightFile

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

__all__ = ["BATCH", "OPSET", "PIXELS", "check_constants", "check_layers", "proto_of", "write_model"]

PIXELS: Final = "pixels"
"""Name of the input, float32 [batch, C, H, W]."""

BATCH: Final = "batch"

OPSET: Final = 18
_IR_VERSION: Final = 10
_MAX_VALUES: Final = 1 << 28

# Errors of a layer function on a config that Keras did not write.
_CONTRADICTIONS: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    RecursionError,
    TypeError,
    ValueError,
)


def check_layers(graph: KerasGraph) -> None:
    """Refuse a model with a layer that the writer does not know, before any weights are read.

    Raises:
        UnsupportedLayerError: It names the first one.
    """
    for call in graph.calls:
        _function(call)


def check_constants(model: "ir.Model", path: Path) -> None:
    """Refuse a model whose configuration or whose folded weights gave NaN or infinite constants.

    Raises:
        ModelError: It names the first one.
    """
    for name, value in model.graph.initializers.items():
        if not np.isfinite(value.const_value.numpy()).all():  # type: ignore[union-attr]
            raise ModelError(
                f"{path}: {name} comes out as NaN or infinite, and so do the model's own answers",
                "check the layer's options and its statistics, or export an earlier checkpoint",
            )


def proto_of(model: "ir.Model") -> "onnx.ModelProto":
    """The model as a protobuf; its constants are used up one by one, so that they are never all held twice."""
    import onnx_ir as ir

    arrays = {name: value.const_value.numpy() for name, value in model.graph.initializers.items()}  # type: ignore[union-attr]
    for name, value in model.graph.initializers.items():
        dtype, shape = ir.DataType.from_numpy(arrays[name].dtype), ir.Shape(arrays[name].shape)
        value.const_value = ir.LazyTensor(functools.partial(_pop, arrays, name), dtype=dtype, shape=shape, name=name)
    return ir.to_proto(model)


def _pop(arrays: dict[str, NDArray[Any]], name: str) -> "ir.TensorProtocol":
    import onnx_ir as ir

    return ir.Tensor(arrays.pop(name), name=name)


def write_model(graph: KerasGraph, weights: WeightFile, shape: tuple[int, int, int]) -> "tuple[ir.Model, Tensor]":
    """Write every layer in turn.

    Args:
        graph: A model with one input and one output.
        weights: Its weights.
        shape: Height, width and channels of the input.

    Returns:
        The model, not yet simplified, and the tensor that it gives.

    Raises:
        UnsupportedLayerError: A layer, or an option of one, is not known.
        ModelError: Config and weights do not fit each other, or a tensor is too large.
    """
    import onnx_ir as ir

    height, width, channels = shape
    if min(shape) < 1 or math.prod(shape) > _MAX_VALUES:
        raise ModelError(f"{weights.path} takes images of {height}x{width}; must be <= {_MAX_VALUES:,} values in all")
    builder = Builder()
    (model_input,) = graph.inputs
    pixels = ir.Value(
        name=PIXELS, shape=ir.Shape([BATCH, channels, height, width]), type=ir.TensorType(ir.DataType.FLOAT)
    )
    made: dict[TensorRef, Tensor] = {
        TensorRef(model_input.name): Tensor(pixels, shape, is_map=True, dtype=model_input.dtype)
    }
    for layer in graph.calls:
        results = _write(layer, builder, made, weights)
        made.update({TensorRef(layer.name, index): tensor for index, tensor in enumerate(results)})
    output = made[graph.outputs[0]]
    value = builder.keras_order(output)
    if value is pixels:
        value = builder.node("Identity", [value], "output")
    value.type = ir.TensorType(ir.DataType.FLOAT)
    value.shape = ir.Shape([BATCH, *output.shape])
    onnx_graph = ir.Graph(
        [pixels],
        [value],
        nodes=builder.nodes,
        initializers=list(builder.constants.values()),
        opset_imports={"": OPSET},
        name=graph.name,
    )
    return ir.Model(onnx_graph, ir_version=_IR_VERSION, producer_name="braintumor"), output


def _write(
    layer: LayerCall, builder: Builder, made: Mapping[TensorRef, Tensor], weights: WeightFile
) -> tuple[Tensor, ...]:
    """The results of one call."""
    call = _call(layer, made, weights)
    if layer.class_name not in INTEGER_INPUT and any("float" not in tensor.dtype for tensor in call.inputs):
        raise call.unsupported(f"it computes with {call.inputs[0].dtype}")
    try:
        result = _function(layer)(call, builder)
    except _CONTRADICTIONS as error:
        raise call.unsupported(f"its config is not understood ({type(error).__name__}: {error})") from error
    results = result if isinstance(result, tuple) else (result,)
    for tensor in results:
        valid = all(isinstance(size, int) and size > 0 for size in tensor.shape)
        if not valid or math.prod(tensor.shape) > _MAX_VALUES:
            raise call.refused(
                f"gives a tensor of shape {tensor.shape}; each size must be at least 1, and their product at most "
                f"{_MAX_VALUES:,}"
            )
    return results


def _call(layer: LayerCall, made: Mapping[TensorRef, Tensor], weights: WeightFile) -> Call:
    """A call with a `Tensor` in the place of each `TensorRef`."""
    inputs: list[Tensor] = []

    def resolve(item: Any) -> Any:
        if not isinstance(item, TensorRef):
            return item
        inputs.append(made[item])
        return made[item]

    args, kwargs = map_structure(resolve, layer.args), map_structure(resolve, dict(layer.kwargs))
    return Call(layer, tuple(inputs), args, kwargs, weights)


def _function(layer: LayerCall) -> LayerFunction:
    table = OPERATIONS if layer.operation else LAYERS
    if layer.class_name not in table:
        raise UnsupportedLayerError(layer.layer, layer.class_name)
    return table[layer.class_name]
