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

from braintumor.runtime.image import grayscale
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
def test_read_grey_is_exact_in_lossless_formats(kind: str, tmp_path: Path) -> None:
    data = encoded(GREY, kind)
    path = tmp_path / "scan.anything"
    path.write_bytes(data)
    for source in (data, path, str(path)):
        result = read_grey(source)
        assert np.array_equal(result.pixels, LEVELS)
        assert (result.format, result.frames, result.bits) == (kind, 1, 8)
        assert result.sha256 == hashlib.sha256(data).hexdigest()


def test_read_grey_gives_contiguous_read_only_uint8() -> None:
    exif = Image.Exif()
    exif[274] = 6
    for result in (read_grey(encoded(GREY, "PNG")), read_grey(encoded(GREY, "PNG", exif=exif))):
        assert result.pixels.dtype == np.uint8
        assert result.pixels.flags.c_contiguous
        assert not result.pixels.flags.writeable


def test_read_grey_decodes_jpeg_as_pillow_in_full() -> None:
    for picture, expected in ((GREY, None), (COLOUR, "RGB"), (COLOUR.convert("CMYK"), "RGB")):
        data = encoded(picture, "JPEG", quality=90)
        plain: Image.Image = Image.open(io.BytesIO(data))
        plain = plain.convert(expected).convert("L") if expected else plain
        result = read_grey(data)
        assert np.array_equal(result.pixels, np.asarray(plain))
        assert (result.format, result.bits) == ("JPEG", 8)


def test_read_grey_keeps_grey_stored_as_colour() -> None:
    for kind in ("PNG", "TIFF", "BMP"):
        assert np.array_equal(read_grey(encoded(GREY.convert("RGB"), kind)).pixels, LEVELS)


def test_read_grey_computes_the_documented_luma() -> None:
    red, green, blue = np.moveaxis(np.asarray(COLOUR).astype(np.uint32), -1, 0)
    expected = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
    for kind in ("PNG", "TIFF", "BMP"):
        assert np.array_equal(read_grey(encoded(COLOUR, kind)).pixels, expected)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_read_grey_uses_the_colours_of_a_palette(kind: str) -> None:
    picture = COLOUR.quantize(32)
    expected = np.asarray(picture.convert("RGB").convert("L"))
    assert np.array_equal(read_grey(encoded(picture, kind)).pixels, expected)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_read_grey_makes_one_bit_black_and_white(kind: str) -> None:
    picture = GREY.point(lambda level: 255 * (level > 127)).convert("1")
    result = read_grey(encoded(picture, kind))
    assert np.array_equal(result.pixels, np.where(LEVELS > 127, 255, 0))
    assert result.bits == 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_read_grey_composites_transparency_over_black(kind: str) -> None:
    alpha = Image.fromarray(LEVELS[::-1].copy())
    for base in (GREY, COLOUR):
        picture = base.copy()
        picture.putalpha(alpha)
        expected = np.asarray(base.convert("L")) * (np.asarray(alpha) / 255)
        result = read_grey(encoded(picture, kind)).pixels
        assert np.abs(result - expected).max() <= 0.5 + 1e-9


def test_read_grey_applies_premultiplied_alpha_once() -> None:
    picture = GREY.copy()
    picture.putalpha(128)
    data = encoded(picture, "TIFF")
    entry = struct.pack("<HHI", 338, 3, 1)  # ExtraSamples: 1 is premultiplied alpha
    at = data.index(entry) + len(entry)
    data = data[:at] + struct.pack("<I", 1) + data[at + 4 :]
    assert np.array_equal(read_grey(data).pixels, LEVELS)


def test_read_grey_makes_transparent_colours_black() -> None:
    key = int(LEVELS[3, 4])
    result = read_grey(encoded(GREY, "PNG", transparency=key)).pixels
    assert np.array_equal(result, np.where(key == LEVELS, 0, LEVELS))
    palette = COLOUR.quantize(32)
    indices = np.asarray(palette)
    for transparency in (5, bytes(0 if index == 5 else 255 for index in range(32))):
        result = read_grey(encoded(palette, "PNG", transparency=transparency)).pixels
        expected = np.where(indices == 5, 0, np.asarray(palette.convert("RGB").convert("L")))
        assert np.array_equal(result, expected)


def test_read_grey_reads_tiff_cmyk_ycbcr_and_lab() -> None:
    for mode in ("CMYK", "YCbCr"):
        picture = COLOUR.convert(mode)
        expected = np.asarray(picture.convert("RGB").convert("L"))
        assert np.array_equal(read_grey(encoded(picture, "TIFF")).pixels, expected)
    neutral = Image.fromarray(np.full_like(LEVELS, 128))
    lab = Image.merge("LAB", (GREY, neutral, neutral))
    result = read_grey(encoded(lab, "TIFF")).pixels.astype(int)
    order = np.argsort(LEVELS.ravel())
    assert (np.diff(result.ravel()[order]) >= 0).all()  # lighter stays lighter
    middle = Image.merge("LAB", (Image.new("L", (4, 4), round(53.585 * 2.55)), *[Image.new("L", (4, 4), 128)] * 2))
    assert abs(int(read_grey(encoded(middle, "TIFF")).pixels[0, 0]) - 128) <= 1  # L* 53.585 is sRGB 128


@pytest.mark.parametrize("order", ["<", ">"])
def test_read_grey_stretches_sixteen_bits(order: str) -> None:
    picture = Image.frombytes("I;16" if order == "<" else "I;16B", (20, 24), WIDE.astype(f"{order}u2").tobytes())
    for kind in ("PNG", "TIFF"):
        result = read_grey(encoded(picture, kind))
        assert np.array_equal(result.pixels, stretched(WIDE))
        assert result.bits == 16
        assert (result.pixels.min(), result.pixels.max()) == (0, 255)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_read_grey_reads_sixteen_bit_tiff_compressions(compression: str | None) -> None:
    data = encoded(Image.fromarray(WIDE), "TIFF", compression=compression)
    assert np.array_equal(read_grey(data).pixels, stretched(WIDE))


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("wide", [False, True])
def test_read_grey_inverts_tiff_minimum_is_white(photometric: int, *, wide: bool) -> None:
    values = WIDE if wide else LEVELS
    data = encoded(Image.fromarray(values), "TIFF")
    entry = struct.pack("<HHI", 262, 3, 1)
    assert data.count(entry) == 1
    at = data.index(entry) + len(entry)
    data = data[:at] + struct.pack("<I", photometric) + data[at + 4 :]
    expected = stretched(values) if wide else values
    assert np.array_equal(read_grey(data).pixels, expected if photometric else 255 - expected)


def test_read_grey_reads_thirty_two_bits() -> None:
    signed = WIDE.astype(np.int32) - 2000
    assert np.array_equal(read_grey(encoded(Image.fromarray(signed), "TIFF")).pixels, stretched(signed))
    real = (WIDE / np.float32(777)).astype(np.float32)
    result = read_grey(encoded(Image.fromarray(real), "TIFF"))
    assert np.abs(result.pixels - (real - real.min()) / np.ptp(real) * 255.0).max() <= 0.5 + 1e-4
    assert result.bits == 32
    unsigned = (WIDE.astype(np.uint64) * 1_000_000).clip(0, 2**32 - 1).astype(np.uint32)
    data = encoded(Image.fromarray(unsigned.view(np.int32)), "TIFF")
    entry = struct.pack("<HHI", 339, 3, 1)
    at = data.index(entry) + len(entry)
    data = data[:at] + struct.pack("<I", 1) + data[at + 4 :]  # SampleFormat: unsigned
    assert np.array_equal(read_grey(data).pixels, stretched(unsigned))


def test_read_grey_makes_a_constant_wide_image_black() -> None:
    for values in (
        np.full((4, 5), 900, np.uint16),
        np.full((4, 5), -3, np.int32),
        np.full((4, 5), 2.5, np.float32),
    ):
        assert not read_grey(encoded(Image.fromarray(values), "TIFF")).pixels.any()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("values", [LEVELS, WIDE], ids=["8-bit", "16-bit"])
def test_read_grey_applies_exif_orientation(orientation: int, kind: str, values: NDArray[Any]) -> None:
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
def test_read_grey_ignores_an_undefined_orientation(orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    assert np.array_equal(read_grey(encoded(GREY, "PNG", exif=exif)).pixels, LEVELS)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_read_grey_reads_frame_zero_and_counts_frames(kind: str) -> None:
    others = [Image.fromarray(255 - LEVELS), Image.fromarray(LEVELS // 2)]
    result = read_grey(encoded(GREY, kind, save_all=True, append_images=others))
    assert result.frames == 3
    assert np.array_equal(result.pixels, LEVELS)


def test_read_grey_reads_big_tiff() -> None:
    assert np.array_equal(read_grey(encoded(GREY, "TIFF", big_tiff=True)).pixels, LEVELS)


@pytest.mark.parametrize(
    ("kind", "mode", "bits"), [("PNG", "P", 8), ("BMP", "RGB", 8), ("BMP", "L", 8), ("JPEG", "L", 8)]
)
def test_read_grey_gives_the_bits_of_the_file(kind: str, mode: str, bits: int) -> None:
    assert read_grey(encoded(COLOUR.convert(mode), kind)).bits == bits


def test_read_grey_loads_no_other_decoder() -> None:
    script = (
        "import sys; from braintumor.runtime.image.decode import read_grey\n"
        "read_grey(sys.argv[1])\n"
        "print(sorted(m for m in sys.modules if m.endswith('ImagePlugin') or m in ('tensorflow', 'scipy')))"
    )
    run = subprocess.run([sys.executable, "-c", script, SCAN], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str([PngImagePlugin.__name__])


def test_read_grey_reads_the_example_scan() -> None:
    result = read_grey(SCAN)
    assert (result.pixels.shape, result.format, result.bits, result.frames) == ((256, 256), "PNG", 8, 1)
    assert result.pixels[128].max() > 200
    assert not result.pixels[:8].any()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_read_grey_tells_the_orientation_that_it_applied(kind: str) -> None:
    exif = Image.Exif()
    for tag, applied in ((6, 6), (3, 3), (9, 1), (None, 1)):
        if tag is not None:
            exif[274] = tag
        result = read_grey(encoded(GREY, kind, exif=exif) if tag else encoded(GREY, kind))
        assert result.orientation == applied


def test_read_grey_tells_whether_parts_are_transparent() -> None:
    opaque, clear = GREY.convert("RGBA"), GREY.convert("RGBA")
    clear.putpixel((3, 3), (9, 9, 9, 254))
    for kind in ("PNG", "TIFF"):
        assert [read_grey(encoded(picture, kind)).transparent for picture in (GREY, opaque, clear)] == [
            False,
            False,
            True,
        ]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16", "F"])
def test_read_grey_gives_the_same_in_bands(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.fromarray(WIDE) if mode == "I;16" else Image.fromarray(WIDE).convert(mode)
    data = encoded(COLOUR.convert(mode) if mode in {"RGB", "RGBA", "P"} else picture, "TIFF")
    whole = read_grey(data).pixels
    monkeypatch.setattr(grayscale, "_BAND_PIXELS", 5 * picture.width)
    assert np.array_equal(read_grey(data).pixels, whole)
