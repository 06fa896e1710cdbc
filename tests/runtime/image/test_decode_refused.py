"""What `read_grey` refuses: files, formats, bombs, damage of every kind."""

import io
import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Never

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from braintumor.errors import InputError
from braintumor.runtime.image import decode as image
from braintumor.runtime.image.decode import GreyImage, read_grey

LEVELS = np.random.default_rng(7).integers(0, 256, (24, 20), dtype=np.uint8)
GREY = Image.fromarray(LEVELS)
COLOUR = Image.fromarray(np.random.default_rng(8).integers(0, 256, (24, 20, 3), dtype=np.uint8))
WIDE = (LEVELS.astype(np.uint16) * 13 + 400).astype(np.uint16)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def refusal(source: str | Path | bytes) -> str:
    with pytest.raises(InputError) as caught:
        read_grey(source)
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.remedy
    return message


def png_of(*chunks: bytes) -> bytes:
    framed = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return png_of(header, b"IDAT" + zlib.compress(b"\0"), b"IEND")


def test_read_grey_refuses_files_that_cannot_be_opened(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "none.png")
    assert "a folder" in refusal(tmp_path)
    (tmp_path / "empty.png").touch()
    assert "an empty file" in refusal(tmp_path / "empty.png")
    assert "an empty file" in refusal(b"")
    assert "cannot be read" in refusal("a\0b.png")
    assert "\\n" in refusal(tmp_path / "two\nlines.png")


def test_read_grey_refuses_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scan.png"
    path.write_bytes(encoded(GREY, "PNG"))

    def refuse(*_arguments: object, **_options: object) -> Never:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)  # chmod does not stop root
    message = refusal(path)
    monkeypatch.undo()
    assert "no permission" in message


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_read_grey_refuses_a_pipe_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert "not a regular file" in refusal(tmp_path / "pipe.png")


def test_read_grey_refuses_a_file_over_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scan.png"
    path.write_bytes(encoded(GREY, "PNG"))
    monkeypatch.setattr(image, "MAX_FILE_BYTES", 100)
    assert "the limit is 100" in refusal(path)


def nifti(magic: bytes, at: int) -> bytes:
    return bytes(at) + magic + bytes(200)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (bytes(128) + b"DICM" + bytes(99), "DICOM"),
        (b"II*\0" + bytes(124) + b"DICM" + bytes(99), "DICOM"),
        (b"\x08\0\x05\0CS\x0a\0ISO_IR 100", "DICOM"),
        (b"\x08\0\x00\0\x04\0\0\0\x10\x02\0\0", "DICOM"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X        ", "AppleDouble"),
        (nifti(b"n+1\0", 344), "NIfTI"),
        (zlib.compress(nifti(b"n+1\0", 344), wbits=31), "NIfTI volume, gzip"),
        (nifti(b"n+2\0", 4), "NIfTI-2"),
        (zlib.compress(b"text", wbits=31), "gzip"),
        (b"\x1f\x8b broken", "gzip"),
        (b"GIF89a" + bytes(20), "GIF"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04", "ZIP"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x93NUMPY\x01\0", "NumPy"),
        (b"\n<!DOCTYPE html><html>", "web page"),
        (b"hello", "not an image"),
    ],
)
def test_read_grey_names_other_formats_with_a_remedy(data: bytes, word: str) -> None:
    message = refusal(data)
    assert word in message
    assert "PNG, JPEG, TIFF and BMP" in message


def test_read_grey_refuses_a_gif_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "scan.png"
    GREY.save(path, "GIF")
    assert "a GIF" in refusal(path)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_read_grey_refuses_every_truncation(kind: str, compression: str | None) -> None:
    if compression and kind != "TIFF":
        return
    data = encoded(GREY, kind, **({"compression": compression} if compression else {}))
    for end in range(1, len(data) - 2, 7):
        try:
            result = read_grey(data[:end])
        except InputError:
            continue
        # What is cut off may lie behind the last pixel, such as a PNG's closing checksum.
        assert kind != "JPEG"
        assert np.array_equal(result.pixels, LEVELS)


def test_read_grey_checks_the_checksums_of_a_png() -> None:
    data = bytearray(encoded(GREY, "PNG", compress_level=0))
    data[data.index(b"IDAT") + 30] ^= 1
    assert "damaged" in refusal(bytes(data))


def test_read_grey_refuses_when_pillow_invents_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert "LOAD_TRUNCATED_IMAGES = False" in refusal(encoded(GREY, "PNG"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_read_grey_refuses_nan(value: float) -> None:
    values = WIDE.astype(np.float32)
    values[3, 3] = value
    assert "NaN or infinity" in refusal(encoded(Image.fromarray(values), "TIFF"))


def test_read_grey_refuses_sixteen_bit_colour() -> None:
    row = b"\0" + bytes(6 * 2)
    header = b"IHDR" + struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    assert "16-bit colour" in refusal(png_of(header, b"IDAT" + zlib.compress(row), b"IEND"))


def test_read_grey_turns_warnings_that_are_errors_into_input_errors() -> None:
    exif = Image.Exif()
    exif[270] = "a description that is long enough to lie outside its entry"
    data = encoded(GREY, "TIFF", exif=exif)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refusal(data[:20])


def bomb(kind: str, width: int, height: int) -> bytes:
    if kind == "PNG":
        return png_header(width, height)
    data = bytearray(encoded(Image.new("L", (8, 8)), kind))
    if kind == "BMP":
        data[18:26] = struct.pack("<ii", width, height)
    elif kind == "JPEG":
        at = data.index(b"\xff\xc0")
        data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    else:
        for tag, value in ((256, width), (257, height), (278, height)):
            entry = data.index(struct.pack("<HHI", tag, 4 if struct.pack("<HHI", tag, 4, 1) in data else 3, 1))
            data[entry : entry + 12] = struct.pack("<HHII", tag, 4, 1, value)
    return bytes(data)


@pytest.mark.parametrize("size", [(10_000, 9_000), (20_000, 20_000)], ids=["Pillow warns", "Pillow raises"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_read_grey_refuses_bombs_before_decoding(kind: str, size: tuple[int, int]) -> None:
    message = refusal(bomb(kind, *size))
    assert f"{size[0] * size[1]:,} pixels" in message
    assert f"the limit is {image.MAX_PIXELS:,}" in message


def test_read_grey_refuses_a_side_over_the_limit() -> None:
    assert "the limit of a side is 65,535" in refusal(png_header(1, 65_536))


def test_read_grey_refuses_a_palette_image_without_palette() -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 2, 2, 8, 3, 0, 0, 0)
    assert "palette" in refusal(png_of(header, b"IDAT" + zlib.compress(bytes(6)), b"IEND"))


def test_read_grey_turns_whatever_a_decoder_raises_into_an_input_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> Never:
        raise AssertionError("of a decoder")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
    assert "damaged or unsupported PNG (of a decoder)" in refusal(encoded(GREY, "PNG"))


def test_max_pixels_is_the_warning_level_of_pillow() -> None:
    assert image.MAX_PIXELS == Image.MAX_IMAGE_PIXELS


def test_read_grey_works_in_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    scan, bombs = encoded(GREY, "PNG"), [bomb(kind, 10_000, 9_000) for kind in ("PNG", "JPEG", "TIFF", "BMP")]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # an application may have switched Pillow's check off
    filters, limit = list(warnings.filters), Image.MAX_IMAGE_PIXELS

    def answer(index: int) -> bytes | bool:
        try:
            return read_grey(scan if index % 2 else bombs[index // 2 % 4]).pixels.tobytes()
        except InputError as error:
            return "the limit is" in str(error)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(answer, range(800)))
    assert answers == [LEVELS.tobytes() if index % 2 else True for index in range(800)]
    assert (list(warnings.filters), Image.MAX_IMAGE_PIXELS) == (filters, limit)


@cache
def seeds() -> list[bytes]:
    exif = Image.Exif()
    exif[274], exif[271] = 6, "maker"
    wide = Image.fromarray(WIDE)
    pictures = [GREY, COLOUR, COLOUR.quantize(16), GREY.convert("1")]
    files = [encoded(picture, kind) for picture in pictures for kind in ("PNG", "TIFF", "BMP")]
    files += [encoded(wide, kind, exif=exif) for kind in ("PNG", "TIFF")]
    files += [encoded(picture, "JPEG", exif=exif) for picture in (GREY, COLOUR, COLOUR.convert("CMYK"))]
    files += [
        encoded(GREY, "JPEG", progressive=True),
        encoded(GREY, "PNG", save_all=True, append_images=[GREY]),
    ]
    files += [encoded(COLOUR, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg")]
    return [*files, encoded(COLOUR.convert("RGBA"), "TIFF"), encoded(wide.convert("F"), "TIFF")]


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(
    which=st.integers(0, 10**6),
    flips=st.lists(st.tuples(st.integers(0, 600), st.integers(1, 255)), max_size=6),
    cut=st.none() | st.integers(0, 900),
    strict=st.booleans(),
)
def test_read_grey_decodes_or_refuses_any_damage(
    which: int, flips: list[tuple[int, int]], cut: int | None, *, strict: bool
) -> None:
    data = bytearray(seeds()[which % len(seeds())])
    for at, bits in flips:
        data[at % len(data)] ^= bits
    with warnings.catch_warnings():
        warnings.simplefilter("error" if strict else "ignore")
        result: GreyImage | str
        try:
            result = read_grey(bytes(data[:cut]))
        except InputError as error:
            result = str(error)
    if isinstance(result, str):
        assert "\n" not in result
    else:
        assert (str(result.pixels.dtype), result.pixels.ndim) == ("uint8", 2)
