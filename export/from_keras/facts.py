"""What an export has to know of a Keras model, read from its config."""

from dataclasses import dataclass

__all__ = ["KerasFacts"]


@dataclass(frozen=True, slots=True)
class KerasFacts:
    """What was found out about the model.

    Attributes:
        height: Of the input, in pixels.
        width: Of the input, in pixels.
        channels: 1 or 3.
        classes: Number of values that it gives for an image.
        parameters: Number of weights.
        architecture: The model's own name.
    """

    height: int
    width: int
    channels: int
    classes: int
    parameters: int
    architecture: str
