"""Layers that a model calls as in training, so that its answers are random or depend on the batch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from braintumor.errors import ModelError
from braintumor.export.from_keras.graph import KerasGraph, LayerCall

__all__ = ["DROPOUT", "TRAINED_OTHERWISE", "refuse_training", "training_flag"]

DROPOUT: Final = (
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "StochasticDepth",
)
"""Layers that change values at random in training only."""


TRAINED_OTHERWISE: Final = (*DROPOUT, "BatchNormalization")
"""Layers that compute something else in training."""


def refuse_training(graph: KerasGraph, path: Path, *, keras2: bool) -> None:
    """Refuse a model that drops out or takes each batch's own statistics in its answers.

    Augmentation does not count: Keras saves training=True at its every call, the default there, without effect.

    Args:
        graph: The model.
        path: Its file, for messages.
        keras2: It is of Keras 2. In Keras 3 `predict` has a BatchNormalization use its trained statistics,
            in any case.

    Raises:
        ModelError: It names the layer.
    """
    for call in graph.calls:
        if effect := _random(call) or (keras2 and _by_batch(call)):
            raise ModelError(
                f"{path}: layer {call.layer!r} ({call.class_name}) is called with training=True, so {effect}",
                "build it without training=True, set_weights, and save it again",
            )


def training_flag(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool | None:
    """The `training` of a call; None where it has none."""
    if isinstance(training := kwargs.get("training"), bool):
        return training
    return next((item for item in args[1:] if isinstance(item, bool)), None)


def _random(call: LayerCall) -> str:
    trains = call.class_name in DROPOUT and training_flag(call.args, call.kwargs)
    return "the model's answers are random" if trains else ""


def _by_batch(call: LayerCall) -> str:
    # A frozen one keeps its statistics even so.
    trains = call.class_name == "BatchNormalization" and call.config.get("trainable", True)
    in_training = trains and training_flag(call.args, call.kwargs)
    return "an image's answer depends on the others in its batch" if in_training else ""
