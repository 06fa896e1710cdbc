"""What `read_grey` reads: formats, modes, depths, orientations, frames."""

import hashlib
import io
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin

from braintumor.runtime.image.decode import read_grey
from tests.support.paths import SCAN

LEVELS = np.random.default_rng(7).integers(0, 256, (24, 20), dtype=np.uint8)
GREY = Image.fromarray(LEVELS)
COLOUR = Image.fromarray(np.random.default_rng(8).integers(0, 256, (24, 20, 3), dtype=np.uint8))
WIDE = (LEVELS.astype(np.uint16) * 13 + 400).astype(np.uint16)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def stretched(values: NDArray[Any]) -> NDArray[np.uint8]:
    values = values.astype(np.float64)
    levels: NDArray[np.uint8] = np.rint((values - values.min()) / np.ptp(values) * 255).astype(np.uint8)
    return levels


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_grey_is_exact_in_lossless_formats(kind: str, tmp_path: Path) -> None:
    data = encoded(GREY, kind)
    path = tmp_path / "scan.anything"
    path.write_bytes(data)
    for source in (data, path, str(path)):
        found = read_grey(source)
        assert np.array_equal(found.pixels, LEVELS)
        assert (found.format, found.frames, found.bits) == (kind, 1, 8)
        assert found.sha256 == hashlib.sha256(data).hexdigest()


def test_pixels_are_uint8_contiguous_and_read_only() -> None:
    exif = Image.Exif()
    exif[274] = 6
    for found in (read_grey(encoded(GREY, "PNG")), read_grey(encoded(GREY, "PNG", exif=exif))):
        assert found.pixels.dtype == np.uint8
        assert found.pixels.flags.c_contiguous
        assert not found.pixels.flags.writeable


def test_jpeg_is_what_pillow_decodes_in_full() -> None:
    for picture, expected in ((GREY, None), (COLOUR, "RGB"), (COLOUR.convert("CMYK"), "RGB")):
        data = encoded(picture, "JPEG", quality=90)
        plain: Image.Image = Image.open(io.BytesIO(data))
        plain = plain.convert(expected).convert("L") if expected else plain
        found = read_grey(data)
        assert np.array_equal(found.pixels, np.asarray(plain))
        assert (found.format, found.bits) == ("JPEG", 8)


def test_grey_stored_as_colour_keeps_its_values() -> None:
    for kind in ("PNG", "TIFF", "BMP"):
        assert np.array_equal(read_grey(encoded(GREY.convert("RGB"), kind)).pixels, LEVELS)


def test_colour_is_the_luma_of_its_documented_formula() -> None:
    red, green, blue = np.moveaxis(np.asarray(COLOUR).astype(np.uint32), -1, 0)
    expected = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
    for kind in ("PNG", "TIFF", "BMP"):
        assert np.array_equal(read_grey(encoded(COLOUR, kind)).pixels, expected)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_palette_images_go_through_their_colours(kind: str) -> None:
    picture = COLOUR.quantize(32)
    expected = np.asarray(picture.convert("RGB").convert("L"))
    assert np.array_equal(read_grey(encoded(picture, kind)).pixels, expected)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_one_bit_images_become_black_and_white(kind: str) -> None:
    picture = GREY.point(lambda level: 255 * (level > 127)).convert("1")
    found = read_grey(encoded(picture, kind))
    assert np.array_equal(found.pixels, np.where(LEVELS > 127, 255, 0))
    assert found.bits == 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_transparency_is_composited_over_black(kind: str) -> None:
    alpha = Image.fromarray(LEVELS[::-1].copy())
    for base in (GREY, COLOUR):
        picture = base.copy()
        picture.putalpha(alpha)
        expected = np.asarray(base.convert("L")) * (np.asarray(alpha) / 255)
        found = read_grey(encoded(picture, kind)).pixels
        assert np.abs(found - expected).max() <= 0.5 + 1e-9


def test_alpha_that_is_multiplied_in_already_is_not_applied_twice() -> None:
    picture = GREY.copy()
    picture.putalpha(128)
    data = encoded(picture, "TIFF")
    entry = struct.pack("<HHI", 338, 3, 1)  # ExtraSamples: 1 is premultiplied alpha
    at = data.index(entry) + len(entry)
    data = data[:at] + struct.pack("<I", 1) + data[at + 4 :]
    assert np.array_equal(read_grey(data).pixels, LEVELS)


def test_transparent_colours_and_palette_entries_become_black() -> None:
    key = int(LEVELS[3, 4])
    found = read_grey(encoded(GREY, "PNG", transparency=key)).pixels
    assert np.array_equal(found, np.where(key == LEVELS, 0, LEVELS))
    palette = COLOUR.quantize(32)
    indices = np.asarray(palette)
    for transparency in (5, bytes(0 if index == 5 else 255 for index in range(32))):
        found = read_grey(encoded(palette, "PNG", transparency=transparency)).pixels
        expected = np.where(indices == 5, 0, np.asarray(palette.convert("RGB").convert("L")))
        assert np.array_equal(found, expected)


def test_tiff_cmyk_ycbcr_and_lab() -> None:
    for mode in ("CMYK", "YCbCr"):
        picture = COLOUR.convert(mode)
        expected = np.asarray(picture.convert("RGB").convert("L"))
        assert np.array_equal(read_grey(encoded(picture, "TIFF")).pixels, expected)
    neutral = Image.fromarray(np.full_like(LEVELS, 128))
    lab = Image.merge("LAB", (GREY, neutral, neutral))
    found = read_grey(encoded(lab, "TIFF")).pixels.astype(int)
    order = np.argsort(LEVELS.ravel())
    assert (np.diff(found.ravel()[order]) >= 0).all()  # lighter stays lighter
    middle = Image.merge("LAB", (Image.new("L", (4, 4), round(53.585 * 2.55)), *[Image.new("L", (4, 4), 128)] * 2))
    assert abs(int(read_grey(encoded(middle, "TIFF")).pixels[0, 0]) - 128) <= 1  # L* 53.585 is sRGB 128


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bits_are_stretched_from_minimum_to_maximum(order: str) -> None:
    picture = Image.frombytes("I;16" if order == "<" else "I;16B", (20, 24), WIDE.astype(f"{order}u2").tobytes())
    for kind in ("PNG", "TIFF"):
        found = read_grey(encoded(picture, kind))
        assert np.array_equal(found.pixels, stretched(WIDE))
        assert found.bits == 16
        assert (found.pixels.min(), found.pixels.max()) == (0, 255)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_sixteen_bit_tiff_compressions(compression: str | None) -> None:
    data = encoded(Image.fromarray(WIDE), "TIFF", compression=compression)
    assert np.array_equal(read_grey(data).pixels, stretched(WIDE))


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("wide", [False, True])
def test_tiff_minimum_is_white_is_inverted_at_every_depth(photometric: int, *, wide: bool) -> None:
    values = WIDE if wide else LEVELS
    data = encoded(Image.fromarray(values), "TIFF")
    entry = struct.pack("<HHI", 262, 3, 1)
    assert data.count(entry) == 1
    at = data.index(entry) + len(entry)
    data = data[:at] + struct.pack("<I", photometric) + data[at + 4 :]
    expected = stretched(values) if wide else values
    assert np.array_equal(read_grey(data).pixels, expected if photometric else 255 - expected)


def test_thirty_two_bits_signed_unsigned_and_float() -> None:
    signed = WIDE.astype(np.int32) - 2000
    assert np.array_equal(read_grey(encoded(Image.fromarray(signed), "TIFF")).pixels, stretched(signed))
    real = (WIDE / np.float32(777)).astype(np.float32)
    found = read_grey(encoded(Image.fromarray(real), "TIFF"))
    assert np.abs(found.pixels - (real - real.min()) / np.ptp(real) * 255.0).max() <= 0.5 + 1e-4
    assert found.bits == 32
    unsigned = (WIDE.astype(np.uint64) * 1_000_000).clip(0, 2**32 - 1).astype(np.uint32)
    data = encoded(Image.fromarray(unsigned.view(np.int32)), "TIFF")
    entry = struct.pack("<HHI", 339, 3, 1)
    at = data.index(entry) + len(entry)
    data = data[:at] + struct.pack("<I", 1) + data[at + 4 :]  # SampleFormat: unsigned
    assert np.array_equal(read_grey(data).pixels, stretched(unsigned))


def test_a_constant_wide_image_is_black() -> None:
    for values in (
        np.full((4, 5), 900, np.uint16),
        np.full((4, 5), -3, np.int32),
        np.full((4, 5), 2.5, np.float32),
    ):
        assert not read_grey(encoded(Image.fromarray(values), "TIFF")).pixels.any()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("values", [LEVELS, WIDE], ids=["8-bit", "16-bit"])
def test_exif_orientation(orientation: int, kind: str, values: NDArray[Any]) -> None:
    if kind == "JPEG" and values is WIDE:
        return
    exif = Image.Exif()
    exif[274] = orientation
    data = encoded(Image.fromarray(values), kind, exif=exif)
    upright = read_grey(encoded(Image.fromarray(values), kind)).pixels
    method = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}.get(orientation)  # EXIF's number to Pillow's
    expected = Image.fromarray(upright)
    expected = expected if method is None else expected.transpose(Image.Transpose(method))
    assert np.array_equal(read_grey(data).pixels, np.asarray(expected))
    if values is LEVELS:
        upright_by_pillow = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        assert np.array_equal(read_grey(data).pixels, np.asarray(upright_by_pillow))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_undefined_orientation_changes_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    assert np.array_equal(read_grey(encoded(GREY, "PNG", exif=exif)).pixels, LEVELS)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_frame_zero_is_read_and_frames_are_counted(kind: str) -> None:
    others = [Image.fromarray(255 - LEVELS), Image.fromarray(LEVELS // 2)]
    found = read_grey(encoded(GREY, kind, save_all=True, append_images=others))
    assert found.frames == 3
    assert np.array_equal(found.pixels, LEVELS)


def test_big_tiff() -> None:
    assert np.array_equal(read_grey(encoded(GREY, "TIFF", big_tiff=True)).pixels, LEVELS)


@pytest.mark.parametrize(
    ("kind", "mode", "bits"), [("PNG", "P", 8), ("BMP", "RGB", 8), ("BMP", "L", 8), ("JPEG", "L", 8)]
)
def test_bits(kind: str, mode: str, bits: int) -> None:
    assert read_grey(encoded(COLOUR.convert(mode), kind)).bits == bits


def test_importing_and_reading_a_png_loads_no_other_decoder() -> None:
    script = (
        "import sys; from braintumor.runtime.image.decode import read_grey\n"
        "read_grey(sys.argv[1])\n"
        "print(sorted(m for m in sys.modules if m.endswith('ImagePlugin') or m in ('tensorflow', 'scipy')))"
    )
    run = subprocess.run([sys.executable, "-c", script, SCAN], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str([PngImagePlugin.__name__])


def test_the_example_scan() -> None:
    found = read_grey(SCAN)
    assert (found.pixels.shape, found.format, found.bits, found.frames) == ((256, 256), "PNG", 8, 1)
    assert found.pixels[128].max() > 200
    assert not found.pixels[:8].any()
