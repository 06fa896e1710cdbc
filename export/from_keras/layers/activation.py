"""Activations: as layers, and as the `activation` of another layer."""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from braintumor.export.from_keras.builder import Builder
from braintumor.export.from_keras.tensor import Call, Tensor

__all__ = ["ACTIVATIONS", "ALIASES", "LAYERS", "OPERATIONS", "activate", "activation_name", "steps"]

ALIASES: Final[Mapping[str, str]] = {
    "swish": "silu",
    "hard_swish": "hard_silu",
    "exponential": "exp",
}
"""Other names of the same activation."""

# Each activation as steps (operator, operands, attributes). An operand is the input "x", the step before ".", or a
# number. The last step gives the result.
_Step = tuple[str, tuple[str | float, ...], Mapping[str, float]]

ACTIVATIONS: Final[Mapping[str, tuple[_Step, ...]]] = {
    "linear": (),
    "relu": (("Relu", ("x",), {}),),
    "relu6": (("Clip", ("x", 0.0, 6.0), {}),),
    "sigmoid": (("Sigmoid", ("x",), {}),),
    "tanh": (("Tanh", ("x",), {}),),
    "silu": (("Sigmoid", ("x",), {}), ("Mul", ("x", "."), {})),
    "hard_sigmoid": (("HardSigmoid", ("x",), {"alpha": 1 / 6, "beta": 0.5}),),
    "hard_silu": (("HardSwish", ("x",), {}),),
    "gelu": (
        ("Mul", ("x", math.sqrt(0.5)), {}),
        ("Erf", (".",), {}),
        ("Add", (".", 1.0), {}),
        ("Mul", ("x", "."), {}),
        ("Mul", (".", 0.5), {}),
    ),
    "elu": (("Elu", ("x",), {"alpha": 1.0}),),
    "selu": (("Selu", ("x",), {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}),),
    "leaky_relu": (("LeakyRelu", ("x",), {"alpha": 0.2}),),
    "softplus": (("Softplus", ("x",), {}),),
    "softsign": (("Softsign", ("x",), {}),),
    "exp": (("Exp", ("x",), {}),),
    "softmax": (("Softmax", ("x",), {}),),
    "log_softmax": (("LogSoftmax", ("x",), {}),),
}
"""Keras's activations by name."""

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
        tensor: What it is applied to.
        call: The layer.
        graph: Gets the nodes.
        own: The activation is the layer's main node and has the layer's name.

    Raises:
        UnsupportedLayerError: The activation is not in `ACTIVATIONS`.
    """
    name = activation_name(call.config.get("activation"))
    if name is None or name not in ACTIVATIONS:
        raise call.unsupported(f"activation {call.config.get('activation')!r:.100} is not known to the direct writer")
    return steps(tensor, ACTIVATIONS[name], graph, call.name if own else f"{call.name}/{name}")


def steps(tensor: Tensor, pattern: tuple[_Step, ...], graph: Builder, name: str) -> Tensor:
    """Append the nodes of a pattern; its last one gets the name."""
    previous = tensor.value
    for index, (op_type, operands, given) in enumerate(pattern):
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
        attributes: dict[str, Any] = dict(given)
        if op_type in _OVER_CHANNELS:
            attributes["axis"] = 1 if tensor.is_map else -1
        previous = graph.node(op_type, inputs, name if last else step, **attributes)
    return tensor.replace(previous)


def _activation(call: Call, graph: Builder) -> Tensor:
    """`Activation`."""
    return activate(call.input, call, graph, own=True)


def _relu(call: Call, graph: Builder) -> Tensor:
    """`ReLU`: with an upper limit, a slope below a threshold."""
    slope, threshold = call.config.get("negative_slope") or 0.0, call.config.get("threshold") or 0.0
    limit = call.config.get("max_value")
    if threshold:
        raise call.unsupported(f"threshold={threshold} is not known to the direct writer")
    if limit is None:
        kind: _Step = ("LeakyRelu", ("x",), {"alpha": slope}) if slope else ("Relu", ("x",), {})
        return steps(call.input, (kind,), graph, call.name)
    if slope:
        raise call.unsupported("negative_slope with max_value is not known to the direct writer")
    return steps(call.input, (("Clip", ("x", 0.0, float(limit)), {}),), graph, call.name)


def _leaky_relu(call: Call, graph: Builder) -> Tensor:
    """`LeakyReLU`; Keras 2 calls its slope alpha."""
    slope = call.config.get("negative_slope", call.config.get("alpha", 0.3))
    return steps(call.input, (("LeakyRelu", ("x",), {"alpha": float(slope)}),), graph, call.name)


def _elu(call: Call, graph: Builder) -> Tensor:
    """`ELU`."""
    return steps(call.input, (("Elu", ("x",), {"alpha": float(call.config.get("alpha", 1.0))}),), graph, call.name)


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
    """`Softmax` over one axis."""
    tensor = call.input
    axis = call.config.get("axis", -1)
    rank = len(tensor.shape) + 1
    if not isinstance(axis, int) or len(call.kwargs.keys() - {"mask"}) or axis % rank == 0:
        raise call.unsupported(f"axis={axis!r} is not known to the direct writer")
    if tensor.is_map and axis % rank == rank - 1:
        return tensor.replace(graph.node("Softmax", [tensor.value], call.name, axis=1))
    return Tensor(graph.node("Softmax", [graph.keras_order(tensor)], call.name, axis=axis), tensor.shape)


def _operation(call: Call, graph: Builder) -> Tensor:
    """An activation of `keras.ops` without options."""
    return steps(call.input, ACTIVATIONS[_OPERATION_NAMES[call.layer.class_name]], graph, call.name)


_OPERATION_NAMES: Final[Mapping[str, str]] = {
    "Relu": "relu",
    "Relu6": "relu6",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Silu": "silu",
    "HardSigmoid": "hard_sigmoid",
    "HardSilu": "hard_silu",
    "Exp": "exp",
    "Softplus": "softplus",
    "Softsign": "softsign",
}

LAYERS: Final = {
    "Activation": _activation,
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "ELU": _elu,
    "PReLU": _prelu,
    "Softmax": _softmax,
}

OPERATIONS: Final = {**dict.fromkeys(_OPERATION_NAMES, _operation), "Softmax": _softmax}
