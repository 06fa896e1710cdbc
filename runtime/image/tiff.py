"""TIFF directories: what Pillow and libtiff take on trust, checked before they read a pixel."""

import contextlib
import ctypes
import functools
import math
import struct
from collections.abc import Mapping
from typing import Any, Final

from PIL import _imaging

from braintumor.errors import InputError

__all__ = ["MAX_FRAMES", "check_layout", "count_frames", "silence_libtiff"]

MAX_FRAMES: Final = 100_000
"""Frames that are counted in a file."""

_WHOLE: Final = 1 << 32
"""RowsPerStrip of a file that does not give it: all rows are in one strip."""

# Encoders pad small images to one tile, of usually 256 and at most 1,024 pixels a side.
_MAX_PADDED_SIDE: Final = 1024
_TILE_STEP: Final = 16

_WIDTH, _LENGTH = 256, 257
_OLD_JPEG, _SEPARATE_PLANES = 6, 2
_COMPRESSION, _STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _PLANES = 259, 273, 277, 278, 284
_TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS = 322, 323, 324


def check_layout(tags: Mapping[int, Any]) -> None:
    """Check that the strips or tiles of a frame cover it, and that a tile is not far larger than the frame.

    Where a table of strips ends early, an uncompressed picture would go on in black; libtiff allocates a tile before
    it looks at the data.

    Args:
        tags: Of the frame's directory.

    Raises:
        InputError: They do not fit.
    """
    width, height = _number(tags, _WIDTH, 0), _number(tags, _LENGTH, 0)
    if _TILE_OFFSETS in tags and _STRIP_OFFSETS not in tags:
        _check_tiles(tags, width, height)
    elif tags.get(_COMPRESSION) != _OLD_JPEG:
        rows = _number(tags, _ROWS_PER_STRIP, _WHOLE)
        _check_offsets("strip", tags, _STRIP_OFFSETS, math.ceil(height / rows))


def _check_tiles(tags: Mapping[int, Any], width: int, height: int) -> None:
    across, down = _number(tags, _TILE_WIDTH, 0), _number(tags, _TILE_LENGTH, 0)
    for tile, side in ((across, width), (down, height)):
        limit = max(_MAX_PADDED_SIDE, math.ceil(side / _TILE_STEP) * _TILE_STEP)
        if tile > limit:
            raise InputError(
                f"damaged TIFF: tiles of {across} x {down} pixels for a picture of {width} x {height}",
                "copy or export it again",
            )
    _check_offsets("tile", tags, _TILE_OFFSETS, math.ceil(width / across) * math.ceil(height / down))


def _check_offsets(kind: str, tags: Mapping[int, Any], table: int, pieces: int) -> None:
    planes = _number(tags, _SAMPLES, 1) if tags.get(_PLANES) == _SEPARATE_PLANES else 1
    offsets = tags.get(table, ())
    listed = sum(offset > 0 for offset in offsets)  # 0 stands for one that was never written
    if listed < pieces * planes:
        raise InputError(
            f"damaged TIFF: {listed} of {pieces * planes} {kind}s are there; the rest of the picture is missing",
            "copy or export it again",
        )


def _number(tags: Mapping[int, Any], tag: int, default: int) -> int:
    value = tags.get(tag, default)
    if not isinstance(value, int) or value < 1:
        raise InputError(f"damaged TIFF: tag {tag} is {value!r:.40}, not a number > 0", "copy or export it again")
    return value


def count_frames(data: bytes) -> int:
    """Count the frames of a TIFF file, up to `MAX_FRAMES`, in time that grows with their number alone.

    Args:
        data: The file.

    Raises:
        InputError: A directory lies outside of the file.
    """
    order = "<" if data.startswith(b"II") else ">"
    large = struct.unpack_from(order + "H", data, 2) == (43,)
    count, size, link = (order + "Q", 20, order + "Q") if large else (order + "H", 12, order + "I")
    visited: set[int] = set()
    try:
        (directory,) = struct.unpack_from(link, data, 8 if large else 4)
        # One that leads back ends the file, as for Pillow.
        while directory and directory not in visited and len(visited) < MAX_FRAMES:
            visited.add(directory)
            (entries,) = struct.unpack_from(count, data, directory)
            (directory,) = struct.unpack_from(link, data, directory + struct.calcsize(count) + entries * size)
    except (struct.error, OverflowError):
        place = f"the directory of frame {len(visited)} lies outside of the file"
        raise InputError(f"damaged TIFF: {place}", "copy or export it again") from None
    return len(visited)


@functools.cache
def silence_libtiff() -> None:
    """Have libtiff no longer print what is wrong with a file: Pillow raises the same failures.

    It writes to standard error by itself, past Python. Where Pillow holds libtiff inside of itself, as on Windows, it
    cannot be reached, and goes on writing.
    """
    with contextlib.suppress(OSError, AttributeError):
        core = ctypes.CDLL(_imaging.__file__)
        core.TIFFSetErrorHandler.argtypes = (ctypes.c_void_p,)
        core.TIFFSetErrorHandler(None)
