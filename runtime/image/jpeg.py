"""JPEG scans, counted before they are decoded: a progressive file may repeat one of 127 bytes without end."""

import re
from typing import Final

from braintumor.errors import InputError

__all__ = ["MAX_SCANS", "check_scans"]

MAX_SCANS: Final = 100
"""Scans of one picture. Encoders write about 10, optimisers up to some 20."""

_MAX_SCANNED_PIXELS: Final = 1 << 31
"""Scans times pixels: each scan is a pass over all of them. 24 scans of the largest picture take about 2 seconds."""

_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
# What libjpeg takes for a marker, wherever it looks for the next one.
_MARKER: Final = re.compile(rb"\xff+([^\x00\xff])")
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a segment: TEM, RST0 to RST7 and SOI."""


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


def _count_scans(data: bytes) -> int:
    scans, at = 0, 0
    while (marker := _MARKER.search(data, at)) is not None:
        kind, at = marker[1][0], marker.end()
        if kind == _END_OF_IMAGE:
            break
        scans += kind == _START_OF_SCAN
        if kind not in _ALONE:
            at += int.from_bytes(data[at : at + 2])
    return scans
