"""The square around the head, so that neither border nor shape of a picture give away its origin."""

from typing import Final

import numpy as np

from braintumor.errors import InputError
from braintumor.models.input_settings import CROPS, Crop
from braintumor.runtime.image.resize import Pixels

__all__ = ["CROPS", "MAX_SQUARE_SIDE", "Crop", "crop_to_head", "padded_to_square"]


_BRIGHT: Final = 0.08
"""Of the brightest level: above it a pixel belongs to the head, or to text beside it."""

_BRIGHTEST: Final = 0.999
"""Share of the pixels at or below the level that counts as the brightest: single hot pixels do not."""

_SHARE: Final = 0.04
"""Of a row or column: so much of it must be bright. Printed text and thin frames are less."""

MAX_SQUARE_SIDE: Final = 9459
"""The longest side of a square, in pixels: no image has more pixels than a square of it (`decode.MAX_PIXELS`)."""


def crop_to_head(pixels: Pixels) -> Pixels:
    """Cut an image to the rows and columns that the head fills, and pad it with black to a square.

    Args:
        pixels: uint8 [H, W], grey levels on a dark background.

    Returns:
        uint8 [N, N] with N the longer side of the box; the box is centred. An image without a bright row or column,
        such as a black one, is only padded.
    """
    top, bottom, left, right = _box(pixels)
    return padded_to_square(pixels[top:bottom, left:right])


def padded_to_square(pixels: Pixels) -> Pixels:
    """An image in the middle of a black square: uint8 [N, N] of uint8 [H, W], N the longer side.

    A square image is returned unchanged.

    Raises:
        InputError: The image is so long and narrow that the square would have more pixels than an image may.
    """
    height, width = pixels.shape
    if height == width:
        return pixels
    side = max(height, width)
    if side > MAX_SQUARE_SIDE:
        raise InputError(
            f"{width} x {height} pixels would be padded to a square of {side:,} a side, the limit is "
            f"{MAX_SQUARE_SIDE:,}",
            "export the slice alone",
        )
    square = np.zeros((side, side), np.uint8)
    y, x = (side - height) // 2, (side - width) // 2
    square[y : y + height, x : x + width] = pixels
    return square


def _box(pixels: Pixels) -> tuple[int, int, int, int]:
    counts = np.bincount(pixels.ravel(), minlength=256).cumsum()
    brightest = int(np.searchsorted(counts, _BRIGHTEST * pixels.size))
    bright = pixels > _BRIGHT * brightest
    rows = np.flatnonzero(bright.mean(axis=1) > _SHARE)
    columns = np.flatnonzero(bright.mean(axis=0) > _SHARE)
    if not len(rows) or not len(columns):
        return 0, pixels.shape[0], 0, pixels.shape[1]
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
