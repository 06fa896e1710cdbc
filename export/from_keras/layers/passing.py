"""Layers that change nothing when a model answers: dropout, noise, augmentation, regularisation."""

from dataclasses import replace
from typing import Final

from braintumor.export.from_keras.builder import Builder
from braintumor.export.from_keras.tensor import Call, Tensor
from braintumor.export.from_keras.training_calls import DROPOUT

__all__ = ["AUGMENTATION", "LAYERS"]


def _passes_on(call: Call, graph: Builder) -> Tensor:  # noqa: ARG001 - a layer function takes both
    """The input itself."""
    return call.input


def _augmentation(call: Call, graph: Builder) -> Tensor:  # noqa: ARG001 - as above
    """The input as floating-point numbers."""
    return replace(call.input, dtype="float32")


def _random_crop(call: Call, graph: Builder) -> Tensor:
    """`RandomCrop`, which Keras leaves out in its answers though it says that the size changes."""
    size = (int(call.config["height"]), int(call.config["width"]))
    if call.config.get("data_format") == "channels_first" or call.input.shape[:2] != size:
        raise call.unsupported(f"it crops {call.input.shape} to {size} in training only")
    return _augmentation(call, graph)


AUGMENTATION: Final = (
    "AugMix",
    "CutMix",
    "Equalization",
    "MaxNumBoundingBoxes",
    "MixUp",
    "RandAugment",
    "RandomBrightness",
    "RandomColorDegeneration",
    "RandomColorJitter",
    "RandomContrast",
    "RandomElasticTransform",
    "RandomErasing",
    "RandomFlip",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomHue",
    "RandomInvert",
    "RandomPerspective",
    "RandomPosterization",
    "RandomRotation",
    "RandomSaturation",
    "RandomSharpness",
    "RandomShear",
    "RandomTranslation",
    "RandomZoom",
    "Solarization",
)
"""Layers that change images in training only."""

LAYERS: Final = {
    **dict.fromkeys(("ActivityRegularization", "Identity"), _passes_on),
    **dict.fromkeys(AUGMENTATION, _augmentation),
    "RandomCrop": _random_crop,
    **dict.fromkeys(DROPOUT, _passes_on),
}
