"""A Keras model as a flat graph: every layer call in order, models within models unfolded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["KerasGraph", "LayerCall", "ModelInput", "TensorRef", "map_structure"]


@dataclass(frozen=True, slots=True)
class TensorRef:
    """One output of one layer call.

    Attributes:
        call: `LayerCall.name`, or `ModelInput.name`.
        index: Of the output.
    """

    call: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class ModelInput:
    """An input of the whole model.

    Attributes:
        name: Of its InputLayer.
        shape: As Keras has it, without the batch; None for a size that is free.
        dtype: As Keras names it.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class LayerCall:
    """One call of one layer or operation.

    Attributes:
        name: Unique; the layer's path, with a suffix `@2`, `@3` for further calls of a shared layer.
        layer: The layer's path, as in `backbone/block7a_se_reduce`.
        class_name: As Keras names it: "Conv2D".
        operation: It is an operation of `keras.ops`, not a layer.
        config: The layer's own configuration.
        weights: Where its weights lie: the keys of the models around it and its own, as in functional, conv2d_1.
        policy: Name of its dtype policy: "float32", "mixed_float16".
        args: Of the call, with a `TensorRef` for each tensor.
        kwargs: The same by keyword.
    """

    name: str
    layer: str
    class_name: str
    operation: bool
    config: Mapping[str, Any]
    weights: tuple[str, ...]
    policy: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class KerasGraph:
    """A whole model.

    Attributes:
        name: The model's own name.
        inputs: Of the model.
        calls: In an order in which every tensor is made before it is used.
        outputs: Of the model.
    """

    name: str
    inputs: tuple[ModelInput, ...]
    calls: tuple[LayerCall, ...]
    outputs: tuple[TensorRef, ...]


def map_structure(function: Callable[[Any], Any], value: Any) -> Any:
    """Apply a function to every leaf of nested lists, tuples and dictionaries."""
    if isinstance(value, list | tuple):
        return type(value)(map_structure(function, item) for item in value)
    if isinstance(value, dict):
        return {key: map_structure(function, item) for key, item in value.items()}
    return function(value)
