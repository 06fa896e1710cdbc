"""Layers that change nothing when a model answers: dropout, noise, augmentation, regularisation."""

from typing import Final

from braintumor.export.from_keras.builder import Builder
from braintumor.export.from_keras.tensor import Call, Tensor

__all__ = ["LAYERS"]


def _passes_on(call: Call, graph: Builder) -> Tensor:  # noqa: ARG001 - a layer function takes both
    """The input itself.

    Raises:
        UnsupportedLayerError: The layer is called with training=True, so it is random even then.
    """
    if call.kwargs.get("training"):
        raise call.unsupported("it is called with training=True, so its answers are random")
    return call.input


LAYERS: Final = dict.fromkeys(
    (
        "ActivityRegularization",
        "AlphaDropout",
        "Dropout",
        "GaussianDropout",
        "GaussianNoise",
        "Identity",
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
        "SpatialDropout1D",
        "SpatialDropout2D",
        "SpatialDropout3D",
    ),
    _passes_on,
)
