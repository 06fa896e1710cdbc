"""PNG files whose pixel data end early, though every checksum fits."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from braintumor.errors import InputError
from braintumor.runtime.image.decode import read_grey
from braintumor.runtime.image.png import _PASSES

SIDE = 21
LEVELS = np.random.default_rng(0).integers(1, 256, (SIDE, SIDE), dtype=np.uint8)


def chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4) + name + body + zlib.crc32(name + body).to_bytes(4)


def png(rows: bytes, *, interlaced: bool) -> bytes:
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, interlaced)
    packed = zlib.compress(rows)
    parts = b"".join(chunk(b"IDAT", packed[at : at + 50]) for at in range(0, len(packed), 50))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + parts + chunk(b"IEND", b"")


def rows_of(levels: np.ndarray, *, interlaced: bool) -> list[bytes]:
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    return [b"\0" + row.tobytes() for left, top, across, down in passes for row in levels[top::down, left::across]]


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("fill", [0, 1])
def test_read_grey_refuses_a_png_without_all_rows(fill: int, *, interlaced: bool) -> None:
    levels = LEVELS * np.uint8(fill)
    rows = rows_of(levels, interlaced=interlaced)
    assert np.array_equal(read_grey(png(b"".join(rows), interlaced=interlaced)).pixels, levels)
    for kept in (0, 1, len(rows) // 2, len(rows) - 1):
        with pytest.raises(InputError, match="damaged"):
            read_grey(png(b"".join(rows[:kept]), interlaced=interlaced))


@pytest.mark.parametrize("mode", ["1", "P", "L", "LA", "RGB", "RGBA", "I;16"])
def test_read_grey_reads_whole_black_pngs_of_every_depth(mode: str) -> None:
    file = io.BytesIO()
    Image.new(mode, (19, 7)).save(file, "PNG")
    assert not read_grey(file.getvalue()).pixels.any()
