"""PNG rows, counted where the last ones are empty: a file whose pixel data end early would go on in black."""

import math
import zlib
from typing import Final

import numpy as np
from PIL import Image

from braintumor.errors import InputError

__all__ = ["check_rows"]

_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By colour type."""

_PASSES: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of an interlaced file: first column and row, and the steps between them (PNG 8.2, Adam7)."""

_CHUNK_BYTES: Final = 1 << 16


def check_rows(data: bytes, image: Image.Image) -> None:
    """Check that a PNG file holds all of its rows.

    Args:
        data: The file, of which Pillow has checked chunks and checksums.
        image: What Pillow has decoded of it.

    Raises:
        InputError: Its pixel data end before.
    """
    # Missing rows stay 0; of an interlaced file it may be every other row.
    last = image.crop((0, max(0, image.height - 2), image.width, image.height))
    if np.asarray(last).reshape(last.height, -1).any(axis=1).all():
        return
    expected = _expected_bytes(data)
    if (present := _inflated_bytes(data, expected)) < expected:
        raise InputError(
            f"damaged PNG: {present:,} of {expected:,} bytes of pixels; the rest of the picture is missing",
            "copy or export it again",
        )


def _expected_bytes(data: bytes) -> int:
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    depth, colour, interlaced = data[24], data[25], data[28]
    bits = depth * _CHANNELS[colour]
    total = 0
    for left, top, across, down in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = math.ceil((width - left) / across), math.ceil((height - top) / down)
        if columns > 0 and rows > 0:
            total += rows * (1 + math.ceil(columns * bits / 8))  # a row begins with its filter
    return total


def _inflated_bytes(data: bytes, enough: int) -> int:
    """The bytes that the IDAT chunks unpack to; no more than about `enough` of them are counted."""
    unpacker, count, at = zlib.decompressobj(), 0, 8
    while at + 12 <= len(data) and count < enough:
        end = at + 8 + int.from_bytes(data[at : at + 4])
        if data[at + 4 : at + 8] == b"IDAT":
            packed = data[at + 8 : end]
            while packed and count < enough:
                count += len(unpacker.decompress(packed, _CHUNK_BYTES))
                packed = unpacker.unconsumed_tail
        at = end + 4
    return count
