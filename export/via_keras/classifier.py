"""A user's Keras model: loaded, and checked to be an image classifier.

Only the process of `braintumor.export.via_keras.worker` calls this.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from braintumor.errors import KerasLoadError, ModelError
from braintumor.export.from_keras import KerasFacts

__all__ = ["load_classifier", "model_facts"]

_IMAGE_RANK: Final = 4
_FULL_PRECISION: Final = "float32"
_MAX_CAUSE: Final = 300

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


def load_classifier(keras: Any, path: str) -> tuple[Any, str]:
    """Load a checked `.keras` file to compute in float32.

    A model trained under a mixed policy keeps its weights in float32 and loses digits only where it computes.
    The reference must not: it is brought to float32 throughout.

    Returns:
        The model, and the dtype policy that it was saved with ("mixed" when its layers differ).

    Raises:
        KerasLoadError: Keras cannot load it.
        ModelError: It has no input yet, or its weights are in half precision or not finite.
    """
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        # Keras passes on any error of its layers; the cause is shown to the user, whose file it is.
        raise KerasLoadError(f"{path} does not load in Keras {keras.__version__} ({_cause(error)})") from error
    if not getattr(model, "inputs", None):
        raise ModelError(f"{path} was saved before it was built, so it has no input and no weights", "train it first")
    if half := sorted({str(weight.dtype) for weight in model.weights} & {"float16", "bfloat16"}):
        raise ModelError(
            f"{path} keeps its weights in {', '.join(half)}; must be float32, as the policies float32, "
            "mixed_float16 and mixed_bfloat16 keep them",
            "build it under one of them, set_weights, and save it again",
        )
    if broken := [weight.path for weight in model.weights if not np.isfinite(np.asarray(weight)).all()]:
        raise ModelError(
            f"{path} holds NaN or infinite weights ({broken[0]}, {len(broken)} of {len(model.weights)} in all): "
            "the model itself answers NaN, its training diverged",
            "export an earlier checkpoint, or train it again",
        )
    return model, _to_full_precision(model)


def _cause(error: Exception) -> str:
    """Keras's own words for an error, in one line; it prints the whole config first and the cause at the end."""
    return " ".join(str(error).rpartition("Exception encountered:")[2].split())[:_MAX_CAUSE]


def _to_full_precision(model: Any) -> str:
    layers = [layer for layer in _operations(model) if hasattr(layer, "dtype_policy")]
    policies = {layer.dtype_policy.name for layer in layers} - {_FULL_PRECISION}
    for layer in layers:
        if layer.dtype_policy.name.startswith("mixed_"):
            layer.dtype_policy = _FULL_PRECISION
    if len(policies) > 1:
        return "mixed"
    return str(policies.pop()) if policies else _FULL_PRECISION


def model_facts(model: Any, path: str, size: tuple[int, int] | None, policy: str) -> KerasFacts:
    """Facts about a loaded model that an export needs.

    Args:
        model: The loaded model.
        path: Its file, for messages.
        size: Height and width in pixels, for a model that takes any.
        policy: The dtype policy that it was saved with.

    Raises:
        ModelError: It takes something else than one image, gives something else than one value a class, or the size
            does not fit.
    """
    height, width, channels = _input_geometry(model, path, size)
    return KerasFacts(
        height=height,
        width=width,
        channels=channels,
        classes=_classes(model, path),
        input_dtype=str(model.inputs[0].dtype),
        last_activation=_last_activation(model),
        scaled_by=_scaled_by(model),
        parameters=int(model.count_params()),
        architecture=model.name,
        policy=policy,
    )


def _input_geometry(model: Any, path: str, size: tuple[int, int] | None) -> tuple[int, int, int]:
    requirement = f"{path} cannot be exported: its input must be one image [batch, height, width, 1 or 3]"
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != _IMAGE_RANK:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in model.inputs)
        raise ModelError(f"{requirement}; the model takes {shapes}")
    _, height, width, channels = model.inputs[0].shape
    if channels not in {1, 3}:
        raise ModelError(f"{requirement}; the model takes {(height, width, channels)}")
    if size is not None:
        if height not in {None, size[0]} or width not in {None, size[1]}:
            raise ModelError(f"{path} takes {height}x{width} pixels, not {size[0]}x{size[1]}", "leave `size` out")
        height, width = size
    if height is None or width is None:
        raise ModelError(f"{path} takes images of any size", "give the one it was trained at with `size='224x224'`")
    return height, width, channels


def _classes(model: Any, path: str) -> int:
    shapes = [tuple(tensor.shape) for tensor in model.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 2:  # noqa: PLR2004 - [batch, classes]
        raise ModelError(
            f"{path} is not a classifier: it has {len(shapes)} outputs, the first of shape {shapes[0]}; must be "
            "one of (batch, classes)"
        )
    return int(shapes[0][1])


def _last_activation(model: Any) -> str | None:
    """Activation of the last layer that has one: "linear", "softmax", "sigmoid", …; None where it is not known.

    A layer that only passes on, such as `Activation("linear", dtype="float32")` or Dropout, is looked through.
    """
    tensor = model.outputs[0]
    while (history := getattr(tensor, "_keras_history", None)) is not None:
        layer = history.operation
        name = getattr(getattr(layer, "activation", None), "__name__", None)
        if hasattr(layer, "layers") and getattr(layer, "outputs", None):
            tensor = layer.outputs[history.tensor_index]
        elif type(layer).__name__ in _PASSES_ON or (type(layer).__name__ == "Activation" and name == "linear"):
            tensor = layer.input
        elif type(layer).__name__ in {"Softmax", "Sigmoid"}:
            return type(layer).__name__.lower()
        else:
            return name
    return None


def _scaled_by(model: Any) -> str | None:
    """The layer or operation by which a model scales its input itself; None where it does not."""
    for operation in _operations(model):
        name = type(operation).__name__
        if name in _SCALING:
            return str(operation.name)
        if name.startswith(_FEATURES):
            break
    return None


def _operations(model: Any) -> Iterator[Any]:
    """All layers and operations in order, models within models unfolded."""
    for operation in getattr(model, "operations", model.layers):
        if hasattr(operation, "layers"):
            yield from _operations(operation)
        else:
            yield operation
