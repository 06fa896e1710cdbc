"""Grey levels of a decoded Pillow image of any mode, by the rules of `braintumor.runtime.image.decode`."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from braintumor.errors import InputError
from braintumor.runtime.image.resize import Pixels

__all__ = ["TIFF_BITS", "TIFF_TAGS", "grey_of", "oriented"]


TIFF_BITS = 258
_TIFF_PHOTOMETRIC, _TIFF_SAMPLE_FORMAT = 262, 339

TIFF_TAGS = (TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_SAMPLE_FORMAT)
"""The TIFF tags that `grey_of` uses."""

_WIDE_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_BYTE_BITS = 8
_OPAQUE = 255
_BAND_PIXELS = 1 << 22


def grey_of(image: Image.Image, bits: int, tags: Mapping[int, Any]) -> tuple[Pixels, bool]:
    """Return the grey levels of a loaded image, and whether it has transparent pixels.

    Args:
        image: any mode that PNG, JPEG, TIFF or BMP files decode to.
        bits: bits per channel in the file.
        tags: those of `TIFF_TAGS` that the file has; empty for other formats.

    Returns:
        uint8 [H, W], and whether any pixel was darkened by its transparency.

    Raises:
        InputError: more than 8 bits of colour, or NaN or infinity among floating-point pixels.
    """
    if image.mode in _WIDE_MODES:
        return _stretched(image, tags), False
    if bits > _BYTE_BITS:
        raise InputError(f"{bits}-bit colour or transparency", "save it as 16-bit grey or as 8-bit colour")
    if image.mode == "La":  # is stored multiplied by alpha
        return np.asarray(image.getchannel("L")), _any_transparent(image.getchannel("a"))
    if image.mode == "P" and image.palette is None:
        raise InputError("a picture by palette without its palette", "copy or export it again")
    if not image.has_transparency_data:
        return _by_bands(image, lambda band: np.asarray(_luma(band))), False
    transparent = any(_any_transparent(band.convert("RGBA").getchannel("A")) for _, band in _bands(image))
    return _by_bands(image, lambda band: _over_black(band.convert("RGBA"))), transparent


def _by_bands(image: Image.Image, levels_of: Callable[[Image.Image], Pixels]) -> Pixels:
    """The levels of an image, band by band: what is made on the way stays small, however large the image."""
    levels = np.empty((image.height, image.width), np.uint8)
    for top, band in _bands(image):
        levels[top : top + band.height] = levels_of(band)
    return levels


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """First row and picture of each band of rows."""
    rows = max(1, _BAND_PIXELS // image.width)
    if rows >= image.height:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def oriented(pixels: Pixels, orientation: int) -> Pixels:
    """Return a view turned and mirrored by EXIF's tag 0x0112.

    Args:
        pixels: uint8 [H, W].
        orientation: 1..8.
    """
    views = {
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.T,
        6: pixels.T[:, ::-1],
        7: pixels[::-1, ::-1].T,
        8: pixels.T[::-1],
    }
    return views.get(orientation, pixels)


def _luma(image: Image.Image) -> Image.Image:
    """Return mode "L" of an opaque image with at most 8 bits per channel."""
    if image.mode == "L":
        return image
    if image.mode == "LAB":
        return image.getchannel("L").point(_grey_of_lightness())
    # By way of RGB always: Pillow's direct conversions of other modes to "L" round differently.
    return (image if image.mode == "RGB" else image.convert("RGB")).convert("L")


def _over_black(image: Image.Image) -> Pixels:
    """Return the luma of an RGBA image times its alpha, rounded to nearest."""
    luma = np.asarray(image.convert("L")).astype(np.uint16)
    luma *= np.asarray(image.getchannel("A"))
    luma += 127  # half of 255; 255 * 255 + 127 still fits
    luma //= 255
    return luma.astype(np.uint8)


def _any_transparent(alpha: Image.Image) -> bool:
    return bool(np.asarray(alpha).min() < _OPAQUE)


def _grey_of_lightness() -> list[int]:
    """Return the sRGB level of each stored CIE L*, 0..255 for 0..100 (CIE 15, IEC 61966-2-1)."""
    lightness = np.arange(256) * (100 / 255)
    linear_below, gamma_below = 8, 0.0031308
    light = np.where(lightness > linear_below, ((lightness + 16) / 116) ** 3, lightness * (27 / 24389))
    srgb = np.where(light > gamma_below, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light)
    return [int(level) for level in np.rint(255 * srgb)]


def _stretched(image: Image.Image, tags: Mapping[int, Any]) -> Pixels:
    """Return minimum → 0 and maximum → 255 of a frame with 16 or more bits, integer or float."""
    unsigned = tags.get(TIFF_BITS) == (32,) and tags.get(_TIFF_SAMPLE_FORMAT, (1,)) == (1,)
    ranges = [_range(_values(band, unsigned=unsigned)) for _, band in _bands(image)]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    if low == high:
        return np.zeros((image.height, image.width), np.uint8)
    levels = _by_bands(image, lambda band: _scaled(_values(band, unsigned=unsigned), low, high))
    # Pillow inverts TIFF's "minimum is white" for 8 bits, but not for more.
    return np.subtract(255, levels, out=levels) if tags.get(_TIFF_PHOTOMETRIC) == 0 else levels


def _values(image: Image.Image, *, unsigned: bool) -> NDArray[Any]:
    values = np.asarray(image)
    # Pillow has no unsigned 32-bit mode: right bits, wrong sign.
    return values.view(np.uint32) if values.dtype == np.int32 and unsigned else values


def _range(values: NDArray[Any]) -> tuple[Any, Any]:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError("NaN or infinity among its pixels", "replace them before saving")
    return values.min().item(), values.max().item()


def _scaled(values: NDArray[Any], low: Any, high: Any) -> Pixels:
    if values.dtype.itemsize == np.dtype(np.uint16).itemsize:  # a table beats arithmetic on every pixel
        table: Pixels = np.rint(np.arange(high - low + 1) * (255 / (high - low))).astype(np.uint8)
        levels: Pixels = table[values - values.dtype.type(low)]
        return levels
    scaled = values.astype(np.float64)
    scaled -= low  # in place: double precision is kept once, not four times
    scaled /= high - low
    scaled *= 255
    return np.rint(scaled, out=scaled).astype(np.uint8)
