"""Layers that change nothing when a model answers: dropout, noise, augmentation, regularisation."""

from typing import Final

from braintumor.export.from_keras.builder import Builder
from braintumor.export.from_keras.tensor import Call, Tensor

__all__ = ["LAYERS"]


def _passes_on(call: Call, graph: Builder) -> Tensor:  # noqa: ARG001 - a layer function takes both
    """The input itself."""
    return call.input


def _dropout(call: Call, graph: Builder) -> Tensor:
    """The input itself, unless the model asks for dropout in every answer (Monte Carlo dropout).

    Raises:
        ModelError: The layer is called with training=True.
    """
    # Keras saves training=True at every call of an augmentation layer, where it is the default and means nothing.
    if call.kwargs.get("training"):
        raise call.refused(
            "is called with training=True, so the model's answers are random; build it without training=True, "
            "set_weights, and save it again"
        )
    return _passes_on(call, graph)


LAYERS: Final = {
    **dict.fromkeys(
        (
            "ActivityRegularization",
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
        ),
        _passes_on,
    ),
    **dict.fromkeys(
        (
            "AlphaDropout",
            "Dropout",
            "GaussianDropout",
            "GaussianNoise",
            "SpatialDropout1D",
            "SpatialDropout2D",
            "SpatialDropout3D",
        ),
        _dropout,
    ),
}
