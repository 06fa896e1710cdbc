"""Activations: as layers, as operations, and as the `activation` of another layer."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from braintumor.export.from_keras.builder import Builder
from braintumor.export.from_keras.layers.activation_patterns import ACTIVATIONS, ALIASES, Step
from braintumor.export.from_keras.layers.axes import chosen_axes, value_axis
from braintumor.export.from_keras.tensor import Call, Tensor

__all__ = ["LAYERS", "OPERATIONS", "activate", "activation_name", "steps"]

_OVER_CHANNELS: Final = frozenset({"Softmax", "LogSoftmax"})


def activation_name(activation: Any) -> str | None:
    """The name of an activation in a config: a string, a serialised function or None; None for anything else."""
    if activation is None:
        return "linear"
    if isinstance(activation, Mapping):
        activation = activation.get("config") if activation.get("class_name") == "function" else None
    return ALIASES.get(activation, activation) if isinstance(activation, str) else None


def activate(tensor: Tensor, call: Call, graph: Builder, *, own: bool = False) -> Tensor:
    """Apply the `activation` of a layer's config to a result of it.

    Args:
        tensor: The result.
        call: The layer.
        graph: Gets the nodes.
        own: The activation is the layer's main node and has the layer's name.

    Raises:
        UnsupportedLayerError: The activation is not known.
    """
    activation = call.config.get("activation")
    name = activation_name(activation)
    if name is not None and name in ACTIVATIONS:
        return steps(tensor, ACTIVATIONS[name], graph, call.name if own else f"{call.name}/{name}")
    if name == "glu":
        return _gated(call, tensor, -1, graph, call.name if own else f"{call.name}/glu")
    if (
        not isinstance(activation, Mapping)
        or activation.get("class_name") not in _AS_ACTIVATION
        or not isinstance(activation["config"], Mapping)
    ):
        raise call.unsupported(f"activation {activation!r:.100} is not known to the direct writer")
    inner = str(activation["class_name"])
    layer = replace(
        call.layer,
        name=call.name if own else f"{call.name}/{activation['config']['name']}",
        class_name=inner,
        config=activation["config"],
    )
    return LAYERS[inner](replace(call, layer=layer, inputs=(tensor,), args=(tensor,), kwargs={}), graph)


def steps(tensor: Tensor, pattern: tuple[Step, ...], graph: Builder, name: str) -> Tensor:
    """Append the nodes of a pattern; its last one gets the name."""
    previous = tensor.value
    for index, (op_type, operands, options) in enumerate(pattern):
        last = index == len(pattern) - 1
        step = f"{name}/{op_type.lower()}"
        inputs = [
            tensor.value
            if item == "x"
            else previous
            if item == "."
            else graph.constant(f"{step}_{place}", np.array(item, np.float32))
            for place, item in enumerate(operands)
        ]
        attributes: dict[str, Any] = dict(options)
        if op_type in _OVER_CHANNELS:
            attributes["axis"] = 1 if tensor.is_map else -1
        previous = graph.node(op_type, inputs, name if last else step, **attributes)
    return tensor.replace(previous)


def _activation(call: Call, graph: Builder) -> Tensor:
    """`Activation`."""
    return activate(call.input, call, graph, own=True)


def _relu(call: Call, graph: Builder) -> Tensor:
    """`ReLU`: with an upper limit, a slope below 0."""
    slope, threshold = call.config.get("negative_slope") or 0.0, call.config.get("threshold") or 0.0
    limit = call.config.get("max_value")
    if threshold:
        raise call.unsupported(f"threshold={threshold} is not known to the direct writer")
    first: Step = ("LeakyRelu", ("x",), {"alpha": float(slope)}) if slope else ("Relu", ("x",), {})
    if limit is None:
        return steps(call.input, (first,), graph, call.name)
    if slope:
        return steps(call.input, (first, ("Min", (".", float(limit)), {})), graph, call.name)
    return steps(call.input, (("Clip", ("x", 0.0, float(limit)), {}),), graph, call.name)


def _leaky_relu(call: Call, graph: Builder) -> Tensor:
    """`LeakyReLU`; Keras 2 calls its slope alpha."""
    slope = call.config.get("negative_slope", call.config.get("alpha", 0.3))
    return steps(call.input, (("LeakyRelu", ("x",), {"alpha": float(slope)}),), graph, call.name)


def _prelu(call: Call, graph: Builder) -> Tensor:
    """`PReLU`: one slope a value, shared along some axes."""
    tensor = call.input
    shared = set(call.config.get("shared_axes") or ())
    shape = tuple(1 if axis + 1 in shared else size for axis, size in enumerate(tensor.shape))
    (alpha,) = call.arrays({"alpha": shape})
    if tensor.is_map and len(shape) > 1:
        alpha = alpha.transpose(2, 0, 1)
    value = tensor.value if len(shape) > 1 else graph.keras_order(tensor)
    slope = graph.constant(f"{call.layer.layer}/alpha", alpha)
    return Tensor(graph.node("PRelu", [value, slope], call.name), tensor.shape, tensor.is_map and len(shape) > 1)


def _softmax(call: Call, graph: Builder) -> Tensor:
    """`Softmax`, and `softmax` and `log_softmax`, along one axis."""
    tensor = call.input
    if call.kwargs.get("mask") is not None:
        raise call.unsupported("it takes a mask")
    axis, *others = chosen_axes(call, call.config.get("axis", -1), len(tensor.shape) + 1)
    if others:
        raise call.unsupported(f"axis={call.config['axis']} is not known to the direct writer")
    op_type = "LogSoftmax" if call.layer.class_name == "LogSoftmax" else "Softmax"
    return tensor.replace(graph.node(op_type, [tensor.value], call.name, axis=value_axis(tensor, axis)))


def _gated(call: Call, tensor: Tensor, axis: int, graph: Builder, name: str) -> Tensor:
    """`glu`: the first half of the values times the sigmoid of the second half."""
    (place,) = chosen_axes(call, axis, len(tensor.shape) + 1)
    half = tensor.shape[place - 1] // 2
    inputs = [tensor.value, graph.integers(f"{name}/halves", [half, half])]
    values, gates = graph.node_outputs(2, "Split", inputs, f"{name}/split", axis=value_axis(tensor, place))
    gates = graph.node("Sigmoid", [gates], f"{name}/sigmoid")
    shape = (*tensor.shape[: place - 1], half, *tensor.shape[place:])
    return Tensor(graph.node("Mul", [values, gates], name), shape, tensor.is_map)


def _glu(call: Call, graph: Builder) -> Tensor:
    """`glu`."""
    return _gated(call, call.input, call.config.get("axis", -1), graph, call.name)


def _operation(call: Call, graph: Builder) -> Tensor:
    """An activation of `keras.ops`, or the layer `ELU`."""
    name = call.layer.class_name
    pattern = _PATTERNS[name](call.config) if name in _PATTERNS else ACTIVATIONS[_NAMES[name]]
    return steps(call.input, pattern, graph, call.name)


_NAMES: Final[Mapping[str, str]] = {
    "Exp": "exp",
    "HardSigmoid": "hard_sigmoid",
    "HardSilu": "hard_silu",
    "HardTanh": "hard_tanh",
    "LogSigmoid": "log_sigmoid",
    "Mish": "mish",
    "Relu": "relu",
    "Relu6": "relu6",
    "Selu": "selu",
    "Sigmoid": "sigmoid",
    "Silu": "silu",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "SparsePlus": "sparse_plus",
    "SparseSigmoid": "sparse_sigmoid",
    "Tanh": "tanh",
    "TanhShrink": "tanh_shrink",
}
"""Operations without options → activation."""

_PATTERNS: Final[Mapping[str, Callable[[Mapping[str, Any]], tuple[Step, ...]]]] = {
    "Celu": lambda config: (("Celu", ("x",), {"alpha": float(config["alpha"])}),),
    "ELU": lambda config: (("Elu", ("x",), {"alpha": float(config.get("alpha", 1.0))}),),
    "Elu": lambda config: (("Elu", ("x",), {"alpha": float(config["alpha"])}),),
    "Gelu": lambda config: ACTIVATIONS["gelu_tanh" if config["approximate"] else "gelu"],
    "HardShrink": lambda config: (("Shrink", ("x",), {"lambd": float(config["threshold"]), "bias": 0.0}),),
    "SoftShrink": lambda config: (
        ("Shrink", ("x",), {"lambd": float(config["threshold"]), "bias": float(config["threshold"])}),
    ),
    "Threshold": lambda config: (
        ("Greater", ("x", float(config["threshold"])), {}),
        ("Where", (".", "x", float(config["default_value"])), {}),
    ),
}
"""Operations with options → their pattern."""

_AS_ACTIVATION: Final = frozenset({"ReLU", "LeakyReLU", "ELU", "Softmax"})
"""Layers that are given as the activation of another layer; Keras does not save the weights of a PReLU there."""

LAYERS: Final = {
    "Activation": _activation,
    "ELU": _operation,
    "LeakyReLU": _leaky_relu,
    "Mish": _operation,
    "PReLU": _prelu,
    "ReLU": _relu,
    "Softmax": _softmax,
}

OPERATIONS: Final = {
    **dict.fromkeys([*_NAMES, *(name for name in _PATTERNS if name != "ELU")], _operation),
    "Glu": _glu,
    "LeakyRelu": _leaky_relu,
    "LogSoftmax": _softmax,
    "Softmax": _softmax,
}
