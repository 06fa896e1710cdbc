"""Bring grey levels to a network's input size, in the way that the network was trained with."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from braintumor.errors import UsageError

__all__ = ["RESIZES", "Pixels", "Resize", "resize"]

Pixels: TypeAlias = NDArray[np.uint8]
"""Grey levels, uint8 [height, width]."""

Resize = Literal["antialias", "tf-bilinear", "nearest", "bilinear", "bicubic"]

RESIZES: tuple[Resize, ...] = get_args(Resize)
"""The ways to change the size; `resize` explains them."""

_PILLOW: Final[Mapping[str, Image.Resampling]] = MappingProxyType(
    {
        "antialias": Image.Resampling.BILINEAR,
        "bilinear": Image.Resampling.BILINEAR,
        "bicubic": Image.Resampling.BICUBIC,
        "nearest": Image.Resampling.NEAREST,
    }
)


def resize(pixels: Pixels, height: int, width: int, method: Resize = "antialias") -> Pixels:
    """Return the image at another size; one that has the size already is returned unchanged.

    Args:
        pixels: uint8 [H, W], grey levels.
        height: rows of the result.
        width: columns of the result.
        method: One of

            - "antialias" and "bilinear", two names for one: Pillow's BILINEAR, whose support grows when shrinking, so
              that every source pixel counts; `load_img(interpolation="bilinear")`.
            - "bicubic": Pillow's BICUBIC, antialiased likewise; `load_img(interpolation="bicubic")`.
            - "nearest": Pillow's NEAREST, the pixel at the centre, no antialiasing; what `load_img` and
              `flow_from_directory` do unless told otherwise. `tf.image.resize(method="nearest")` takes the next pixel
              where a centre falls right between two, otherwise the same.
            - "tf-bilinear": `tf.image.resize(method="bilinear", antialias=False)`: half-pixel centres, four
              neighbours, no antialiasing; what `image_dataset_from_directory` does unless told otherwise. Keras then
              keeps the float; the rounding here costs at most 0.5 grey level against it. `cv2.resize` (INTER_LINEAR)
              computes the same in fixed point, within 1 grey level; its INTER_NEAREST, INTER_AREA and INTER_CUBIC
              are none of these.

    Returns:
        uint8 [height, width], C-contiguous unless it is `pixels` itself; possibly read-only.

    Raises:
        UsageError: an unknown method, or a size that is not positive.
    """
    if method not in RESIZES:
        raise UsageError(f"resize {method!r}: unknown method; allowed are {', '.join(RESIZES)}")
    if height < 1 or width < 1:
        raise UsageError(f"resize to {height} x {width}: both sides must be at least 1 pixel")
    if pixels.shape == (height, width):
        return pixels
    if method == "tf-bilinear":
        return _tf_bilinear(pixels, height, width)
    return np.asarray(Image.fromarray(pixels).resize((width, height), _PILLOW[method]))


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


def _neighbours(size: int, new_size: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return the lower and upper source index and the weight of the upper one, each [new_size]."""
    scale, half = np.float32(size) / np.float32(new_size), np.float32(0.5)
    centre = (np.arange(new_size, dtype=np.float32) + half) * scale - half
    floor = np.floor(centre)
    lower = np.maximum(floor, 0).astype(np.intp)
    upper = np.minimum(np.ceil(centre), size - 1).astype(np.intp)
    return lower, upper, centre - floor
