"""Operations on each value alone: `x ** 2`, `sqrt`, `clip` and the like."""

from collections.abc import Mapping
from typing import Final

from braintumor.export.from_keras.builder import Builder
from braintumor.export.from_keras.layers.activation import steps
from braintumor.export.from_keras.layers.activation_patterns import Step
from braintumor.export.from_keras.tensor import Call, Tensor

__all__ = ["OPERATIONS"]

_PATTERNS: Final[Mapping[str, tuple[Step, ...]]] = {
    "Abs": (("Abs", ("x",), {}),),
    "Absolute": (("Abs", ("x",), {}),),
    "Ceil": (("Ceil", ("x",), {}),),
    "Cos": (("Cos", ("x",), {}),),
    "Erf": (("Erf", ("x",), {}),),
    "Expm1": (("Exp", ("x",), {}), ("Sub", (".", 1.0), {})),
    "Floor": (("Floor", ("x",), {}),),
    "Log": (("Log", ("x",), {}),),
    "Log1p": (("Add", ("x", 1.0), {}), ("Log", (".",), {})),
    "Negative": (("Neg", ("x",), {}),),
    "Reciprocal": (("Reciprocal", ("x",), {}),),
    "Rsqrt": (("Sqrt", ("x",), {}), ("Reciprocal", (".",), {})),
    "Sign": (("Sign", ("x",), {}),),
    "Sin": (("Sin", ("x",), {}),),
    "Sqrt": (("Sqrt", ("x",), {}),),
    "Square": (("Mul", ("x", "x"), {}),),
}


def _operation(call: Call, graph: Builder) -> Tensor:
    """An operation without options."""
    return steps(call.input, _PATTERNS[call.layer.class_name], graph, call.name)


def _clip(call: Call, graph: Builder) -> Tensor:
    """`clip` between two numbers."""
    bounds = [call.config.get(key) for key in ("x_min", "x_max")]
    if not all(isinstance(bound, int | float) for bound in bounds):
        raise call.unsupported(f"its bounds are {bounds}")
    low, high = (float(bound) for bound in bounds)  # type: ignore[arg-type]
    return steps(call.input, (("Clip", ("x", low, high), {}),), graph, call.name)


OPERATIONS: Final = {**dict.fromkeys(_PATTERNS, _operation), "Clip": _clip}
