"""The geometry of a member's input: crop, size and resize method."""

from typing import NamedTuple

from braintumor.runtime.image.head import Crop, crop_to_head
from braintumor.runtime.image.resize import Pixels, Resize, resize

__all__ = ["Geometry", "apply_geometry"]


class Geometry(NamedTuple):
    """The crop and resize of an image for a member.

    Attributes:
        height: Input height in pixels.
        width: Input width in pixels.
        resize: The method, of `RESIZES`.
        crop: The crop before, of `CROPS`.
    """

    height: int
    width: int
    resize: Resize = "antialias"
    crop: Crop = "none"


def apply_geometry(pixels: Pixels, geometry: Geometry) -> Pixels:
    """Crop and resize an image for a member: uint8 [H, W] to uint8 [height, width]; possibly read-only."""
    cut = crop_to_head(pixels) if geometry.crop == "head" else pixels
    return resize(cut, geometry.height, geometry.width, geometry.resize)
