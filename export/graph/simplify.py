"""Simplification of the graphs that tf2onnx writes, without changing what they compute.

Four steps, each measured on the catalog's backbones:

1. `fuse_global_pooling`: tf2onnx keeps Keras's pooling in channels-last order, with a Transpose in front and
   a Reshape behind: one pair in every squeeze-excite block of EfficientNetV2. Both become one
   GlobalAveragePool.
2. onnxslim: constant folding, dead and duplicate nodes, normalisations folded into convolutions.
3. `fold_factors`: a convolution times a constant, as before InceptionResNetV2's 39 scaled residuals, is a
   convolution with scaled weights. It saves a pass over the map, and OpenVINO 2026.4 gets int8 wrong otherwise
   (see there).
4. `fuse_batch_norm`: a BatchNormalization that no convolution can absorb (DenseNet's stand before their ReLU)
   comes out of tf2onnx as Mul and Add. As one node again, ONNX Runtime keeps its blocked layout through it:
   DenseNet121 takes 0.79 x the time at batch 32.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

__all__ = ["fold_factors", "fuse_batch_norm", "fuse_global_pooling", "simplified"]

_TO_CHANNELS_LAST: Final = [0, 2, 3, 1]
_SPATIAL_AXES: Final = {1, 2}
_CHANNEL_RANK: Final = 3
_MAP_RANK: Final = 4


def simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """Simplify a network. The given model is used up."""
    import onnxslim

    fuse_global_pooling(model)
    model = onnxslim.slim(model)
    fold_factors(model)
    fuse_batch_norm(model)
    return model


def fuse_global_pooling(model: onnx.ModelProto) -> None:
    """Transpose → ReduceMean over height and width → Reshape, as one GlobalAveragePool; in place.

    Requires: a Transpose from [N, C, H, W] to [N, H, W, C] with one reader, a ReduceMean over axes 1 and 2.
    Ensures: the same values under the same name. Where no Reshape to [N, C, 1, 1] follows, a Flatten does.
    """
    graph = model.graph
    constants, readers = _constants(graph), _readers(graph)
    replaced: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        if node.op_type != "Transpose" or _attribute(node, "perm") != _TO_CHANNELS_LAST:
            continue
        mean = _only(readers[node.output[0]])
        if mean is None or not _is_spatial_mean(mean, constants):
            continue
        after = _only(readers[mean.output[0]])
        replaced[node.output[0]] = []
        replaced[mean.output[0]] = _pooling(node.input[0], mean, after, constants)
        if len(replaced[mean.output[0]]) == 1 and after is not None:
            replaced[after.output[0]] = []
    _replace(graph, replaced)


def fold_factors(model: onnx.ModelProto) -> None:
    """Conv → Mul by a constant, as one Conv with scaled weights and bias; in place.

    Requires: a Conv with constant weights and bias that no other node reads, itself read only by a Mul of one
    constant, or of one a channel [C, 1, 1].
    Ensures: the same product, to float32 rounding, under the name of the Mul's result.
    """
    graph = model.graph
    constants, readers = _constants(graph), _readers(graph)
    replaced: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        if node.op_type != "Conv" or not all(_is_own(name, constants, readers) for name in node.input[1:]):
            continue
        multiply = _only(readers[node.output[0]])
        factor = _factor(multiply, constants, len(constants[node.input[1]])) if multiply is not None else None
        if multiply is None or factor is None:
            continue
        for name in node.input[1:]:
            _scale_constant(graph, name, factor)
        folded = onnx.NodeProto()
        folded.CopyFrom(node)
        folded.output[0] = multiply.output[0]
        replaced[node.output[0]] = []
        replaced[multiply.output[0]] = [folded]
    _replace(graph, replaced)
    _drop_unread_constants(graph)


def fuse_batch_norm(model: onnx.ModelProto) -> None:
    """Mul and Add by one constant a channel, as one BatchNormalization; in place.

    Requires: a tensor known to be [N, C, H, W] times a constant [C, 1, 1], read only by an Add of a constant
    [C, 1, 1]. (A grey [N, 1, H, W] times three factors would be three channels, which no normalisation makes.)
    Ensures: the same product and sum (mean 0, variance 1, epsilon 0) under the same name.
    """
    graph = model.graph
    constants, readers, shapes = _constants(graph), _readers(graph), _shapes(model)
    replaced: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        scale = _channel_operand(node, "Mul", constants)
        add = _only(readers[node.output[0]]) if scale else None
        offset = _channel_operand(add, "Add", constants) if add is not None else None
        if scale is None or add is None or offset is None:
            continue
        source = next(name for name in node.input if name != scale)
        channels = constants[scale].size
        if constants[offset].size != channels or not _is_map_of(shapes.get(source), channels):
            continue
        inputs = [
            source,
            *_batch_norm_constants(graph, node.name or node.output[0], constants[scale], constants[offset]),
        ]
        replaced[node.output[0]] = []
        replaced[add.output[0]] = [
            helper.make_node("BatchNormalization", inputs, add.output, name=f"{node.name}/fused", epsilon=0.0)
        ]
    _replace(graph, replaced)
    _drop_unread_constants(graph)


def _pooling(
    source: str, mean: onnx.NodeProto, after: onnx.NodeProto | None, constants: Mapping[str, Any]
) -> list[onnx.NodeProto]:
    kept_dims = _attribute(mean, "keepdims") == 1
    if not kept_dims and after is not None and _is_reshape_to_map(after, constants):
        return [helper.make_node("GlobalAveragePool", [source], after.output, name=mean.name)]
    pooled = f"{mean.output[0]}/map"
    last = (
        helper.make_node("Transpose", [pooled], mean.output, name=f"{mean.name}/last", perm=_TO_CHANNELS_LAST)
        if kept_dims
        else helper.make_node("Flatten", [pooled], mean.output, name=f"{mean.name}/flat", axis=1)
    )
    return [helper.make_node("GlobalAveragePool", [source], [pooled], name=mean.name), last]


def _is_spatial_mean(node: onnx.NodeProto, constants: Mapping[str, Any]) -> bool:
    if node.op_type != "ReduceMean" or len(node.input) != 2 or node.input[1] not in constants:  # noqa: PLR2004 - data, axes
        return False
    return set(constants[node.input[1]].tolist()) == _SPATIAL_AXES


def _is_reshape_to_map(node: onnx.NodeProto, constants: Mapping[str, Any]) -> bool:
    if node.op_type != "Reshape" or node.input[1] not in constants:
        return False
    shape = constants[node.input[1]].tolist()
    return len(shape) == _MAP_RANK and shape[0] in {-1, 0} and shape[2:] == [1, 1]


def _channel_operand(node: onnx.NodeProto, kind: str, constants: Mapping[str, Any]) -> str | None:
    """The name of the operand that holds one value a channel of [N, C, H, W]."""
    if node.op_type != kind:
        return None
    names = [name for name in node.input if name in constants]
    if len(names) != 1:
        return None
    shape = constants[names[0]].shape
    # Leading ones broadcast; the channel axis is the third from the end.
    channels_only = len(shape) >= _CHANNEL_RANK and shape[-2:] == (1, 1) and constants[names[0]].size == shape[-3]
    return names[0] if channels_only and constants[names[0]].size > 1 else None


def _is_own(name: str, constants: Mapping[str, Any], readers: Mapping[str, list[onnx.NodeProto]]) -> bool:
    """A constant that one node reads."""
    return name in constants and len(readers[name]) == 1


def _factor(node: onnx.NodeProto, constants: Mapping[str, Any], channels: int) -> Any:
    """By what a Mul multiplies a map [N, channels, H, W]: [1] or [channels]; None when that is not a constant."""
    if (name := _channel_operand(node, "Mul", constants)) is not None:
        return constants[name].reshape(-1) if constants[name].size == channels else None
    values = [constants[name] for name in node.input if name in constants] if node.op_type == "Mul" else []
    single = len(values) == 1 and values[0].size == 1 and values[0].ndim <= _MAP_RANK
    return values[0].reshape(-1) if single else None


def _scale_constant(graph: onnx.GraphProto, name: str, factor: Any) -> None:
    """Multiply the rows of a constant, in place: by one factor, or each by its own."""
    tensor = next(tensor for tensor in graph.initializer if tensor.name == name)
    value = numpy_helper.to_array(tensor)
    scaled = value * factor.astype(value.dtype).reshape(-1, *[1] * (value.ndim - 1))
    tensor.CopyFrom(numpy_helper.from_array(scaled, name))


def _batch_norm_constants(graph: onnx.GraphProto, prefix: str, scale: Any, offset: Any) -> list[str]:
    values = {
        "scale": scale.reshape(-1),
        "offset": offset.reshape(-1),
        "mean": np.zeros(scale.size, scale.dtype),
        "variance": np.ones(scale.size, scale.dtype),
    }
    names = [f"{prefix}/{name}" for name in values]
    graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(value), name)
        for name, value in zip(names, values.values(), strict=True)
    )
    return names


def _constants(graph: onnx.GraphProto) -> dict[str, Any]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def _shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Sizes of every tensor whose rank is known; 0 for a size that is not."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info)
        if value.type.tensor_type.HasField("shape")
    }


def _is_map_of(shape: list[int] | None, channels: int) -> bool:
    return shape is not None and len(shape) == _MAP_RANK and shape[1] == channels


def _readers(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    for output in graph.output:
        # A graph output is read by the caller: no pass may take it for unread.
        readers[output.name].append(onnx.NodeProto())
    return readers


def _only(nodes: list[onnx.NodeProto]) -> onnx.NodeProto | None:
    return nodes[0] if len(nodes) == 1 else None


def _attribute(node: onnx.NodeProto, name: str) -> Any:
    return next((helper.get_attribute_value(item) for item in node.attribute if item.name == name), None)


def _replace(graph: onnx.GraphProto, replaced: Mapping[str, Iterable[onnx.NodeProto]]) -> None:
    """Put other nodes in the place of those whose first output is a key of `replaced`."""
    nodes = [new for node in graph.node for new in replaced.get(node.output[0], [node])]
    del graph.node[:]
    graph.node.extend(nodes)


def _drop_unread_constants(graph: onnx.GraphProto) -> None:
    read = {name for node in graph.node for name in node.input}
    constants = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(constants)
