"""Bring grey levels to a network's input size, in the way that the network was trained with."""

from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from braintumor.errors import UsageError

__all__ = ["RESIZES", "Resize", "resize"]

Pixels: TypeAlias = NDArray[np.uint8]

Resize = Literal["antialias", "tf-bilinear"]

RESIZES: tuple[Resize, ...] = get_args(Resize)
"""The two ways to change the size; `resize` explains them."""


def resize(pixels: Pixels, height: int, width: int, method: Resize = "antialias") -> Pixels:
    """Return the image at another size; one that has the size already is returned unchanged.

    Args:
        pixels: uint8 [H, W], grey levels.
        height: rows of the result.
        width: columns of the result.
        method: "antialias" is Pillow's BILINEAR, whose support grows when shrinking, so that every source
            pixel counts. "tf-bilinear" is `tf.image.resize(method="bilinear", antialias=False)`: half-pixel
            centres, four neighbours, no antialiasing. That is what `keras.utils.image_dataset_from_directory`
            trains on. Keras then keeps the float; the rounding here costs at most 0.5 grey level against it.

    Returns:
        uint8 [height, width], C-contiguous unless it is `pixels` itself; possibly read-only.

    Raises:
        UsageError: an unknown method, or a size that is not positive.
    """
    if method not in RESIZES:
        raise UsageError(f"resize {method!r}: unknown method. Allowed are {' and '.join(RESIZES)}.")
    if height < 1 or width < 1:
        raise UsageError(f"resize to {height} x {width}: both sides must be at least 1 pixel.")
    if pixels.shape == (height, width):
        return pixels
    if method == "tf-bilinear":
        return _tf_bilinear(pixels, height, width)
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))


def _tf_bilinear(pixels: Pixels, height: int, width: int) -> Pixels:
    # float32 and this order of operations are TensorFlow's (resize_bilinear_op.cc), so that rounding agrees.
    top, bottom, down = _neighbours(pixels.shape[0], height)
    left, right, across = _neighbours(pixels.shape[1], width)
    upper, lower = (_lerp(pixels[rows], left, right, across) for rows in (top, bottom))
    return np.rint(upper + (lower - upper) * down[:, None]).astype(np.uint8)


def _lerp(
    rows: Pixels, left: NDArray[np.intp], right: NDArray[np.intp], weight: NDArray[np.float32]
) -> NDArray[np.float32]:
    start = rows[:, left].astype(np.float32)
    return start + (rows[:, right] - start) * weight


def _neighbours(size: int, wanted: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return the lower and upper source index and the weight of the upper one, each [wanted]."""
    scale, half = np.float32(size) / np.float32(wanted), np.float32(0.5)
    centre = (np.arange(wanted, dtype=np.float32) + half) * scale - half
    floor = np.floor(centre)
    lower = np.maximum(floor, 0).astype(np.intp)
    upper = np.minimum(np.ceil(centre), size - 1).astype(np.intp)
    return lower, upper, centre - floor
