"""Activations as data: the nodes of each."""

import math
from collections.abc import Mapping
from typing import Final, TypeAlias

__all__ = ["ACTIVATIONS", "ALIASES", "Step"]

ALIASES: Final[Mapping[str, str]] = {
    "swish": "silu",
    "hard_swish": "hard_silu",
    "exponential": "exp",
}
"""Other names of the same activation."""

# Each activation as steps (operator, operands, attributes). An operand is the input "x", the step before ".", or a
# number. The last step gives the result.
Step: TypeAlias = tuple[str, tuple[str | float, ...], Mapping[str, float]]

ACTIVATIONS: Final[Mapping[str, tuple[Step, ...]]] = {
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
    "gelu_tanh": (
        ("Mul", ("x", "x"), {}),
        ("Mul", (".", 0.044715), {}),
        ("Add", (".", 1.0), {}),
        ("Mul", ("x", "."), {}),
        ("Mul", (".", math.sqrt(2 / math.pi)), {}),
        ("Tanh", (".",), {}),
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
    "celu": (("Elu", ("x",), {"alpha": 1.0}),),
    "hard_tanh": (("Clip", ("x", -1.0, 1.0), {}),),
    "hard_shrink": (("Shrink", ("x",), {"lambd": 0.5, "bias": 0.0}),),
    "soft_shrink": (("Shrink", ("x",), {"lambd": 0.5, "bias": 0.5}),),
    "tanh_shrink": (("Tanh", ("x",), {}), ("Sub", ("x", "."), {})),
    "log_sigmoid": (("Neg", ("x",), {}), ("Softplus", (".",), {}), ("Neg", (".",), {})),
    "mish": (("Softplus", ("x",), {}), ("Tanh", (".",), {}), ("Mul", ("x", "."), {})),
    "squareplus": (
        ("Mul", ("x", "x"), {}),
        ("Add", (".", 4.0), {}),
        ("Sqrt", (".",), {}),
        ("Add", ("x", "."), {}),
        ("Mul", (".", 0.5), {}),
    ),
    "sparse_sigmoid": (("HardSigmoid", ("x",), {"alpha": 0.5, "beta": 0.5}),),
    # Below -1 it is 0, above 1 it is x, between (x + 1)^2 / 4, which is x + (1 - x)^2 / 4.
    "sparse_plus": (
        ("Sub", (1.0, "x"), {}),
        ("Clip", (".", 0.0, 2.0), {}),
        ("Pow", (".", 2.0), {}),
        ("Mul", (".", 0.25), {}),
        ("Add", ("x", "."), {}),
        ("Relu", (".",), {}),
    ),
}
"""Keras's activations by name, and "gelu_tanh" for gelu with approximate=True; glu halves the channels."""
