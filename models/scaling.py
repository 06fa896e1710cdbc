"""Scaling outside the model, as a Keras user does it before `predict`. Independent of the Keras backend."""

from typing import Any

__all__ = ["scaled_outside"]


def scaled_outside(keras: Any, pixels: Any, preprocess: str) -> Any:
    """Scale grey levels by Keras's own function, where it has one.

    Args:
        keras: The package.
        pixels: float32 [batch, height, width, channels] in 0..255; may be changed in place.
        preprocess: A `Preprocess`.

    Returns:
        Floats of the same shape.
    """
    if preprocess == "none":
        return pixels
    if preprocess == "unit":
        return pixels / 255
    scale = keras.applications.imagenet_utils.preprocess_input
    return scale(pixels, data_format="channels_last", mode=preprocess)
