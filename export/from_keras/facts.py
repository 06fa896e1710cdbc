"""Facts about a Keras model that an export needs, read from its graph."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from braintumor.errors import ModelError
from braintumor.export.from_keras.graph import KerasGraph, LayerCall, TensorRef

__all__ = ["KerasFacts", "input_geometry", "read_facts"]

_IMAGE_RANK: Final = 3

# Layers and operations by which a model scales its input itself: `x / 127.5 - 1` and
# `preprocess_input(x)` leave operations, which are not layers.
_SCALING: Final = frozenset(
    {
        "Rescaling",
        "Normalization",
        "TrueDivide",
        "Divide",
        "Multiply",
        "Subtract",
        "Add",
        "BatchNormalization",
    }
)
_PASSES_ON: Final = frozenset({"Dropout", "Identity", "Reshape", "Flatten"})
_FEATURES: Final = ("Conv", "Separable", "Depthwise", "Dense", "EinsumDense")
_FULL_PRECISION: Final = "float32"


@dataclass(frozen=True, slots=True)
class KerasFacts:
    """Facts about a model.

    Attributes:
        height: Of the input, in pixels.
        width: Of the input, in pixels.
        channels: 1 or 3.
        classes: Number of values that it gives for an image.
        input_dtype: As Keras names it: "float32", "uint8".
        last_activation: Of the last layer that has one: "linear", "softmax", "sigmoid", …; None where it is not
            known.
        scaled_by: The layer or operation by which the model scales its input itself; None where it does not.
        parameters: Number of weights.
        architecture: The model's own name.
        policy: The dtype policy that it was saved with, "mixed" when its layers differ; it is computed in float32
            in any case.
    """

    height: int
    width: int
    channels: int
    classes: int
    input_dtype: str
    last_activation: str | None
    scaled_by: str | None
    parameters: int
    architecture: str
    policy: str


def input_geometry(graph: KerasGraph, path: Path, size: tuple[int, int] | None) -> tuple[int, int, int]:
    """Height and width in pixels and channels of the input, with a size that the user chose filled in.

    Raises:
        ModelError: The model takes something else than one image, or the size does not fit.
    """
    requirement = f"{path} cannot be exported: its input must be one image [batch, height, width, 1 or 3]"
    if not graph.inputs:
        raise ModelError(f"{path} was saved before it was built, so it has no input and no weights", "train it first")
    if len(graph.inputs) != 1 or len(graph.inputs[0].shape) != _IMAGE_RANK:
        shapes = ", ".join(str((None, *item.shape)) for item in graph.inputs)
        raise ModelError(f"{requirement}; the model takes {shapes}")
    height, width, channels = graph.inputs[0].shape
    if channels not in {1, 3}:
        raise ModelError(f"{requirement}; the model takes {(height, width, channels)}")
    if size is not None:
        if height not in {None, size[0]} or width not in {None, size[1]}:
            raise ModelError(f"{path} takes {height}x{width} pixels, not {size[0]}x{size[1]}", "leave `size` out")
        height, width = size
    if height is None or width is None:
        raise ModelError(f"{path} takes images of any size", "give the one it was trained at with `size='224x224'`")
    return height, width, channels


def read_facts(
    graph: KerasGraph, path: Path, shape: tuple[int, int, int], output: tuple[int, ...], parameters: int
) -> KerasFacts:
    """Collect the facts of a graph.

    Args:
        graph: The model.
        path: Its file, for messages.
        shape: Height, width and channels of the input.
        output: Shape of its output, without the batch.
        parameters: Number of weights.

    Raises:
        ModelError: It gives something else than one value a class.
    """
    height, width, channels = shape
    if len(graph.outputs) != 1 or len(output) != 1:
        raise ModelError(
            f"{path} is not a classifier: it has {len(graph.outputs)} outputs, the first of shape "
            f"{(None, *output)}; must be one of (batch, classes)"
        )
    return KerasFacts(
        height=height,
        width=width,
        channels=channels,
        classes=output[0],
        input_dtype=graph.inputs[0].dtype,
        last_activation=_last_activation(graph),
        scaled_by=_scaled_by(graph),
        parameters=parameters,
        architecture=graph.name,
        policy=_policy(graph),
    )


def _last_activation(graph: KerasGraph) -> str | None:
    """Look for the last layer with an activation, through layers that only pass on, such as Dropout."""
    calls = {call.name: call for call in graph.calls}
    name = graph.outputs[0].call
    while (call := calls.get(name)) is not None:
        activation = _activation(call)
        if call.class_name in _PASSES_ON or (call.class_name == "Activation" and activation == "linear"):
            name = next(_tensors((*call.args, call.kwargs))).call
        elif call.class_name in {"Softmax", "Sigmoid"}:
            return call.class_name.lower()
        else:
            return activation
    return None


def _activation(call: LayerCall) -> str | None:
    """The name of a layer's activation: given by name, or as a serialised function or layer."""
    activation = call.config.get("activation", None if "units" not in call.config else "linear")
    if isinstance(activation, Mapping):
        config = activation.get("config")
        activation = config if isinstance(config, str) else activation.get("class_name")
    if activation is None:
        return "linear" if "activation" in call.config else None
    return str(activation).lower()


def _scaled_by(graph: KerasGraph) -> str | None:
    for call in graph.calls:
        if call.class_name in _SCALING:
            return call.layer
        if call.class_name.startswith(_FEATURES):
            break
    return None


def _policy(graph: KerasGraph) -> str:
    policies = {call.policy for call in graph.calls if not call.operation} - {_FULL_PRECISION}
    if len(policies) > 1:
        return "mixed"
    return policies.pop() if policies else _FULL_PRECISION


def _tensors(value: Any) -> Iterator[TensorRef]:
    if isinstance(value, TensorRef):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
