"""JPEG files: scans are counted before they are decoded, and afterwards it is found out whether pixels are missing.

A progressive file may repeat a scan of 127 bytes without end. A file whose data end before its picture does is
decoded all the same: libjpeg fills the rest with a grey and only warns, which Pillow does not pass on.
"""

import io
import re
from collections.abc import Iterator
from typing import Final

import numpy as np
from PIL import Image

from braintumor.errors import InputError

__all__ = ["MAX_SCANS", "check_scans", "check_whole"]

MAX_SCANS: Final = 100
"""Scans of one picture. Encoders write about 10, optimisers up to some 20."""

_MAX_SCANNED_PIXELS: Final = 1 << 31
"""Scans times pixels: each scan is a pass over all of them. 24 scans of the largest picture take about 2 seconds."""

_MAX_CHECKED_PIXELS: Final = 1 << 24

_NOISE: Final = bytes(37 * number % 251 for number in range(64))
"""Nothing regular, which a picture may happen to go on with."""

_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
# What libjpeg takes for a marker, wherever it looks for the next one.
_MARKER: Final = re.compile(rb"\xff+([^\x00\xff])")
_RESTARTS: Final = range(0xD0, 0xD8)
_ALONE: Final = frozenset({0x01, 0xD8, *_RESTARTS})
"""Markers without a segment: TEM, SOI and RST0 to RST7."""


def check_scans(data: bytes, pixels: int) -> None:
    """Refuse a JPEG file of more than `MAX_SCANS` scans, or of fewer where the picture is very large.

    Args:
        data: The file.
        pixels: Of the picture.

    Raises:
        InputError: It has more.
    """
    limit = min(MAX_SCANS, _MAX_SCANNED_PIXELS // pixels)
    # Thumbnails have scans as well, so that this is an upper bound.
    if data.count(b"\xff\xda") > limit and (scans := _count_scans(data)) > limit:
        raise InputError(
            f"a JPEG of {scans:,} scans; the limit for its {pixels:,} pixels is {limit}", "save it as PNG"
        )


def check_whole(data: bytes, image: Image.Image) -> None:
    """Refuse a JPEG file whose data end before its picture does.

    The file is decoded again with other bytes before its end: where all pixels are there they are skipped, otherwise
    they become pixels. Pictures of more than 16 million pixels are not checked.

    Args:
        data: The file.
        image: What it was decoded to.

    Raises:
        InputError: Pixels are missing.
    """
    from PIL.JpegImagePlugin import JpegImageFile

    if image.width * image.height > _MAX_CHECKED_PIXELS:
        return
    markers = list(_markers(data))
    end = next((at for kind, at in markers if kind == _END_OF_IMAGE), len(data))
    after = next((kind + 1 for kind, _ in reversed(markers) if kind in _RESTARTS), 0)
    # A decoder that has lost its place waits for the next restart marker.
    marked = b"".join(bytes([0xFF, _RESTARTS[(after + number) % 8]]) + _NOISE for number in range(8))
    with JpegImageFile(io.BytesIO(data[:end] + _NOISE + marked + data[end:])) as other:
        if not np.array_equal(np.asarray(image), np.asarray(other)):
            raise InputError("damaged JPEG: the rest of the picture is missing", "copy or export it again")


def _count_scans(data: bytes) -> int:
    return sum(kind == _START_OF_SCAN for kind, _ in _markers(data))


def _markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Kind and place of each marker of the picture, up to its end; those of a thumbnail lie inside of a segment."""
    at = 0
    while (marker := _MARKER.search(data, at)) is not None:
        kind, at = marker[1][0], marker.end()
        yield kind, marker.start()
        if kind == _END_OF_IMAGE:
            return
        if kind not in _ALONE:
            at += int.from_bytes(data[at : at + 2])
