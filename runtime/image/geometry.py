"""How a member wants its input: what is cut off, the size, and how an image is brought to it."""

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from braintumor.runtime.image.head import Crop, crop_to_head
from braintumor.runtime.image.resize import Resize, resize

__all__ = ["Geometry", "apply_geometry"]

Pixels: TypeAlias = NDArray[np.uint8]


class Geometry(NamedTuple):
    """What is done to an image before a member gets it.

    Attributes:
        height: Input height in pixels.
        width: Input width in pixels.
        resize: How an image is brought to that size, of `RESIZES`.
        crop: What is cut off before, of `CROPS`.
    """

    height: int
    width: int
    resize: Resize = "antialias"
    crop: Crop = "none"


def apply_geometry(pixels: Pixels, geometry: Geometry) -> Pixels:
    """An image as a member wants it: uint8 [height, width] of uint8 [H, W]; possibly read-only."""
    cut = crop_to_head(pixels) if geometry.crop == "head" else pixels
    return resize(cut, geometry.height, geometry.width, geometry.resize)
