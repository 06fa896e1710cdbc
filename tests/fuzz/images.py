"""Image files with seeded faults: cut, flipped, spliced, and with the fields of their own format made to lie."""

import io
import random
import struct
import warnings
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from braintumor.errors import InputError
from braintumor.runtime.image.decode import MAX_PIXELS, read_grey
from tests.support.faults import damaged, one_line

KINDS = ("PNG", "JPEG", "TIFF", "BMP")

_BMP_FILE_HEADER = 14
# Share of the files whose end is that of another.
_SPLICED = 0.03

_NUMBERS = (0, 1, 2, 3, 4, 7, 8, 16, 24, 32, 64, 127, 128, 255, 256, 4096, 9458, 32767, 65535, 65536)
_LARGE = (2**20, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def _encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


@cache
def seeds(kind: str) -> tuple[bytes, ...]:
    """Whole files of a format, in every mode, depth and compression that Pillow writes."""
    rng = np.random.default_rng(7)
    levels = rng.integers(0, 256, (24, 20), dtype=np.uint8)
    grey, colour = Image.fromarray(levels), Image.fromarray(rng.integers(0, 256, (24, 20, 3), dtype=np.uint8))
    smooth = Image.fromarray(np.add.outer(np.arange(72), np.arange(65)).astype(np.uint8))
    wide = Image.fromarray(levels.astype(np.uint16) * 13 + 400)
    palette, bits = colour.quantize(16), grey.convert("1")
    exif = Image.Exif()
    exif[274], exif[271] = 6, "maker"
    common = [_encoded(picture, kind) for picture in (grey, colour, smooth) if picture]
    if kind == "PNG":
        clear = [_encoded(grey, kind, transparency=5), _encoded(palette, kind, transparency=bytes(range(16)))]
        moving = _encoded(grey, kind, save_all=True, append_images=[smooth.resize(grey.size)])
        others = [_encoded(picture, kind, exif=exif) for picture in (palette, bits, wide, colour.convert("RGBA"))]
        return (*common, *clear, moving, *others, _encoded(grey.convert("LA"), kind))
    if kind == "JPEG":
        progressive = [_encoded(picture, kind, progressive=True, exif=exif) for picture in (smooth, colour)]
        return (*common, *progressive, _encoded(colour.convert("CMYK"), kind), _encoded(colour, kind, subsampling=2))
    if kind == "BMP":
        return (
            *common,
            _encoded(palette, kind),
            _encoded(bits, kind),
            _encoded(colour.convert("RGBA"), kind),
            _rle(),
        )
    names = ("tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma", "jpeg")
    packed = [_encoded(colour, kind, compression=name) for name in names]
    faxed = [_encoded(bits, kind, compression=name) for name in ("group3", "group4")]
    strips = [_encoded(smooth, kind, compression=name, strip_size=65 * 8) for name in (None, "tiff_lzw")]
    many = _encoded(grey, kind, save_all=True, append_images=[colour, bits])
    deep = [_encoded(picture, kind, exif=exif) for picture in (wide, wide.convert("F"), wide.convert("I"))]
    large = _encoded(grey, kind, big_tiff=True)
    modes = [_encoded(picture, kind) for picture in (palette, bits, colour.convert("LAB"), colour.convert("RGBA"))]
    return (*common, *packed, *faxed, *strips, many, *deep, large, *modes, _tiled())


def _rle() -> bytes:
    pixels = b"".join(b"\x14" + bytes([row]) + b"\0\0" for row in range(24)) + b"\0\1"
    palette = b"".join(bytes([level, level, level, 0]) for level in range(256))
    header = struct.pack("<IiiHHIIiiII", 40, 20, 24, 1, 8, 1, len(pixels), 1, 1, 256, 0)
    start = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + palette + pixels


def _tiled() -> bytes:
    body = zlib.compress(bytes(range(256)))
    entries = [(256, 16), (257, 16), (258, 8), (259, 8), (262, 1), (277, 1), (322, 16), (323, 16)]
    entries += [(324, 8), (325, len(body))]
    ifd = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + ifd + bytes(4)


def case(kind: str, index: int) -> bytes:
    """The file of that number; the same at every call."""
    return changed(kind, random.Random(f"{kind} {index}"))  # noqa: S311 - a repeatable choice of faults


def changed(kind: str, rng: random.Random) -> bytes:
    """One of the seeds with one fault or some."""
    data = rng.choice(seeds(kind))
    for _ in range(rng.choice([1, 1, 1, 2, 3, 5])):
        data = rng.choice([_any_fault, _LIES[kind], _LIES[kind]])(data, rng) or data
    if rng.random() < _SPLICED:
        other = rng.choice(seeds(rng.choice(KINDS)))
        data = data[: rng.randrange(1, len(data) + 1)] + other[rng.randrange(len(other)) :]
    return data


def _any_fault(data: bytes, rng: random.Random) -> bytes:
    return damaged(data, rng) if len(data) > 9 else data


def _number(rng: random.Random, size: int) -> int:
    value = rng.choice((*_NUMBERS, *_LARGE, rng.randrange(2**32)))
    return value % (1 << 8 * size)


def _lie_of_png(data: bytes, rng: random.Random) -> bytes:
    """Change a chunk's content, its length, its place or its number, mostly with a fitting checksum."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return data
    index = rng.randrange(len(chunks))
    name, body = chunks[index]
    kind = rng.choice(["content", "content", "content", "drop", "double", "swap", "packed", "name"])
    if kind == "content" and body:
        body = damaged(body, rng) if len(body) > 9 and rng.random() < 0.5 else _field_changed(body, rng)
        chunks[index] = (name, body)
    elif kind == "packed" and name == b"IDAT":
        chunks[index] = (name, zlib.compress(rng.randbytes(rng.choice([0, 1, 100, 500, 100_000]))))
    elif kind == "drop":
        del chunks[index]
    elif kind == "name":
        chunks[index] = (rng.choice([b"IDAT", b"PLTE", b"tRNS", b"eXIf", b"acTL", b"fdAT", b"iCCP", b"iTXt"]), body)
    elif kind == "swap":
        chunks.insert(rng.randrange(len(chunks)), chunks.pop(index))
    else:
        chunks.insert(index, chunks[index])
    framed = [len(body).to_bytes(4) + name + body + zlib.crc32(name + body).to_bytes(4) for name, body in chunks]
    return data[:8] + b"".join(framed)


def _field_changed(body: bytes, rng: random.Random) -> bytes:
    size = rng.choice([1, 1, 2, 4])
    at = rng.randrange(max(1, len(body) - size + 1))
    return body[:at] + _number(rng, size).to_bytes(size) + body[at + size :]


def _lie_of_jpeg(data: bytes, rng: random.Random) -> bytes:
    """Change a field or the length of a marker's segment, or repeat or drop it."""
    segments, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        length = int.from_bytes(data[at + 2 : at + 4])
        end = at + 2 + length
        if data[at + 1] == 0xDA:  # with its coded data, up to the next marker
            while end + 1 < len(data) and not (data[end] == 0xFF and data[end + 1] not in {0, *range(0xD0, 0xD8)}):
                end += 1
        segments.append((at, min(end, len(data))))
        at = end
    if not segments:
        return data
    start, end = rng.choice(segments)
    segment = data[start:end]
    kind = rng.choice(["field", "field", "field", "length", "drop", "repeat", "marker"])
    if kind == "field" and len(segment) > 5:
        segment = segment[:4] + _field_changed(segment[4:24], rng) + segment[24:]
    elif kind == "length":
        segment = segment[:2] + _number(rng, 2).to_bytes(2) + segment[4:]
    elif kind == "marker":
        segment = (
            bytes([0xFF, rng.choice([0xC0, 0xC1, 0xC2, 0xC4, 0xC9, 0xDB, 0xDC, 0xDD, 0xE1, 0xEE])]) + segment[2:]
        )
    elif kind == "drop":
        segment = b""
    else:
        segment *= rng.choice([2, 3, 150])
    return data[:start] + segment + data[end:]


def _lie_of_tiff(data: bytes, rng: random.Random) -> bytes:
    """Change an entry of the first directory, or the place of a directory."""
    if len(data) < 10:
        return data
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    if data[2:3] == b"+" or start + 2 > len(data):  # BigTIFF
        at = rng.randrange(2, len(data))
        return data[:at] + _number(rng, 1).to_bytes(1) + data[at + 1 :]
    (count,) = struct.unpack_from(order + "H", data, start)
    changed = bytearray(data)
    entry = start + 2 + 12 * rng.randrange(max(1, count))
    kind = rng.choice(["value", "value", "value", "count", "type", "tag", "next", "first", "known"])
    try:
        if kind == "value":
            struct.pack_into(order + "I", changed, entry + 8, _number(rng, 4))
        elif kind == "count":
            struct.pack_into(order + "I", changed, entry + 4, _number(rng, 4))
        elif kind == "type":
            struct.pack_into(order + "H", changed, entry + 2, rng.randrange(20))
        elif kind == "tag":
            struct.pack_into(
                order + "H", changed, entry, rng.choice([256, 257, 258, 259, 262, 274, 277, 284, 317, 339])
            )
        elif kind == "known":  # a compression, a photometric interpretation, an arrangement of planes
            value = rng.choice([1, 2, 3, 4, 5, 6, 7, 8, 32773, 34712, 34925, 50000, 50001, 34887])
            struct.pack_into(order + "HI", changed, entry + 6, 0, value)
        elif kind == "next":
            struct.pack_into(order + "I", changed, start + 2 + 12 * count, _number(rng, 4) % (2 * len(data)))
        else:
            struct.pack_into(order + "I", changed, 4, _number(rng, 4) % (2 * len(data)))
    except struct.error:  # behind the end
        pass
    return bytes(changed)


def _lie_of_bmp(data: bytes, rng: random.Random) -> bytes:
    """Change a field of the headers."""
    if len(data) < _BMP_FILE_HEADER:
        return data
    size = rng.choice([1, 2, 4])
    at = rng.randrange(2, min(len(data), 60))
    return data[:at] + _number(rng, size).to_bytes(size, "little") + data[at + size :]


_LIES: Mapping[str, Callable[[bytes, random.Random], bytes]] = {
    "PNG": _lie_of_png,
    "JPEG": _lie_of_jpeg,
    "TIFF": _lie_of_tiff,
    "BMP": _lie_of_bmp,
}


def outcome(data: bytes) -> str:
    """Decode a file: "decoded" or "InputError"; anything else is raised."""
    with warnings.catch_warnings():
        # As the commands do; what they do not filter would reach the terminal.
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            result = read_grey(data)
        except InputError as error:
            return one_line(error)
    assert result.pixels.dtype == np.uint8
    assert result.pixels.ndim == 2
    assert 0 < result.pixels.size <= MAX_PIXELS
    assert result.orientation in range(1, 9)
    return "decoded"
