"""TIFF directories: missing strips and tiles, huge tiles, many frames, and libtiff's own messages."""

import io
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from braintumor.errors import InputError
from braintumor.runtime.image.decode import read_grey
from braintumor.runtime.image.tiff import MAX_FRAMES, count_frames

SIDE, ROWS = 224, 16
LEVELS = np.add.outer(np.arange(SIDE), np.arange(SIDE)).astype(np.uint8)


def tiff_of(entries: list[tuple[int, int, int, int]], body: bytes) -> bytes:
    """A little-endian file of one directory: (tag, type, count, value) each; the body begins at 8."""
    ifd = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + ifd + bytes(4)


def pieces_of(offsets: list[int], counts: list[int], at: int) -> tuple[bytes, tuple[int, int], tuple[int, int]]:
    """Two tables as bytes, and for each its count and the place or value of its entry."""
    if len(offsets) == 1:
        return b"", (1, offsets[0]), (1, counts[0])
    tables = struct.pack(f"<{2 * len(offsets)}I", *offsets, *counts)
    return tables, (len(offsets), at), (len(offsets), at + 4 * len(offsets))


def striped(kept: int) -> bytes:
    strips = [LEVELS[top : top + ROWS].tobytes() for top in range(0, SIDE, ROWS)][:kept]
    body = b"".join(strips)
    offsets = [8 + index * len(strips[0]) for index in range(kept)]
    tables, starts, sizes = pieces_of(offsets, [len(strip) for strip in strips], 8 + len(body))
    entries = [(256, 4, 1, SIDE), (257, 4, 1, SIDE), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    entries += [(273, 4, *starts), (277, 3, 1, 1), (278, 4, 1, ROWS), (279, 4, *sizes)]
    return tiff_of(entries, body + tables)


def tiled(kept: int, side: int = 112, *, first: int = 8) -> bytes:
    tiles = [LEVELS[y : y + 112, x : x + 112].tobytes() for y in (0, 112) for x in (0, 112)][:kept]
    body = b"".join(tiles)
    offsets = [first, *(8 + index * len(tiles[0]) for index in range(1, kept))]
    tables, starts, sizes = pieces_of(offsets, [len(tile) for tile in tiles], 8 + len(body))
    entries = [(256, 4, 1, SIDE), (257, 4, 1, SIDE), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    entries += [(277, 3, 1, 1), (322, 4, 1, side), (323, 4, 1, 112), (324, 4, *starts), (325, 4, *sizes)]
    return tiff_of(entries, body + tables)


def frames(count: int, *, last: int = 0) -> bytes:
    entries = [(256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    entries += [(277, 3, 1, 1), (278, 3, 1, 8), (279, 4, 1, 64)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    size = len(directory) + 4
    chain = [directory + struct.pack("<I", 72 + size * (index + 1)) for index in range(count - 1)]
    chain.append(directory + struct.pack("<I", last))
    return b"II*\0" + struct.pack("<I", 72) + b"\x40" * 64 + b"".join(chain)


def refusal(data: bytes) -> str:
    with pytest.raises(InputError) as caught:
        read_grey(data)
    return caught.value.message


def test_read_grey_reads_whole_strips_and_tiles() -> None:
    assert np.array_equal(read_grey(striped(14)).pixels, LEVELS)
    assert np.array_equal(read_grey(tiled(4)).pixels, LEVELS)


@pytest.mark.parametrize("kept", [1, 7, 13])
def test_read_grey_refuses_missing_strips(kept: int) -> None:
    assert f"{kept} of 14 strips" in refusal(striped(kept))


def test_read_grey_refuses_missing_tiles() -> None:
    assert "3 of 4 tiles" in refusal(tiled(3))
    assert "3 of 4 tiles" in refusal(tiled(4, first=0))


@pytest.mark.parametrize("name", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd"])
def test_read_grey_refuses_missing_strips_of_compressed_files(name: str) -> None:
    file = io.BytesIO()
    Image.fromarray(LEVELS).save(file, "TIFF", compression=name, tiffinfo={278: ROWS}, strip_size=SIDE * ROWS)
    data = bytearray(file.getvalue())
    assert np.array_equal(read_grey(bytes(data)).pixels, LEVELS)
    entry = data.index(struct.pack("<HHI", 273, 4, 14))
    data[entry + 4] = 5
    assert "5 of 14 strips" in refusal(bytes(data))


def test_read_grey_refuses_a_tile_that_is_far_larger_than_the_picture() -> None:
    assert "tiles of 67108880 x 112" in refusal(tiled(4, 67_108_880))


def test_read_grey_counts_frames_in_linear_time() -> None:
    few, many = frames(2_000), frames(64_000)
    seconds = []
    for data, count in ((few, 2_000), (many, 64_000)):
        start = time.perf_counter()
        assert read_grey(data).frames == count
        seconds.append(time.perf_counter() - start)
    assert seconds[1] < 32 * 10 * seconds[0]  # quadratic: 1,024 times


def test_count_frames_stops_at_its_limit_and_at_loops() -> None:
    assert count_frames(frames(MAX_FRAMES + 9)) == MAX_FRAMES
    assert count_frames(frames(5, last=72)) == 5


def test_read_grey_refuses_a_chain_of_frames_that_leaves_the_file() -> None:
    assert "the directory of frame 4 lies outside" in refusal(frames(3, last=9_999_999))


@pytest.mark.parametrize("order", ["<", ">"])
def test_count_frames_reads_big_tiff(order: str) -> None:
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HHHQ", 43, 8, 0, 16)
    first = struct.pack(order + "Q", 1) + bytes(20) + struct.pack(order + "Q", 52)
    second = struct.pack(order + "Q", 0) + struct.pack(order + "Q", 0)
    assert count_frames(head + first + second) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Pillow for Windows holds libtiff inside of itself")
def test_read_grey_keeps_the_messages_of_libtiff_off_standard_error(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(LEVELS).save(file, "TIFF", compression="tiff_lzw")
    data = bytearray(file.getvalue())
    data[40:400] = b"\xff" * 360
    path = tmp_path / "damaged.tif"
    path.write_bytes(data)
    program = "import sys; from braintumor.runtime.image import read_grey; read_grey(sys.argv[1])"
    run = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
    assert "InputError: " in run.stderr.splitlines()[-1]
    assert "LZWDecode" not in run.stderr
