"""The one way from an image file to grey levels, shared by training, runtime and bench.

    file ─ read once ─► bytes ─ SHA-256 ─► decode ─► 8-bit grey ─► EXIF orientation ─► `GreyImage`
    uint8 [H, W] ─ `resize` ─► uint8 [height, width], what a network takes

What is decoded decides what is answered, so `DECODE_VERSION` is part of a bundle and moves when a pixel can.

The rules, each with its reason:

- Grey is the ITU-R 601-2 luma of RGB as Pillow computes it: `(19595 R + 38470 G + 7471 B + 32768) >> 16`.
  Equal channels give their own value exactly. A colour JPEG goes through RGB too: reading its Y channel alone
  would be faster but differs where RGB clips, and no pixel may depend on how fast it was read.
- 16 bits and more, and floating point: minimum → 0, maximum → 255, linear. MR intensities have no absolute
  unit, so no fixed window can be right. A constant image becomes 0.
- 16-bit COLOUR is refused: Pillow keeps only the high byte, which silently makes a 12-bit scan almost black.
- Transparency is composited over black: air is black in MR, so a transparent pixel is one where nothing was measured.
- Frame 0 is read; `GreyImage.frames` tells the caller that there were more.
- Nothing global of Pillow is changed, so that every function here may run in any thread, but for libtiff's own
  printing, which is turned off. A process that has told Pillow to invent the missing part of truncated images
  (`LOAD_TRUNCATED_IMAGES`) is refused.
- Missing pixels are never made up: strips and tiles of a TIFF, rows of a PNG and the data of a JPEG must be there.
- Whatever a decoder raises over a file is damage of the file: no list of exceptions is complete.

Pillow reports oddities in metadata through `warnings`. They do not concern pixels and are left to the
application's filters; one that turns them into errors gets them as `InputError`, like any other damage.
"""

import hashlib
import io
import logging
import os
import stat
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from braintumor.errors import InputError
from braintumor.runtime.image.folder import SUFFIXES
from braintumor.runtime.image.formats import FORMATS, HEAD_BYTES, describe_foreign, detect_format
from braintumor.runtime.image.grayscale import TIFF_BITS, TIFF_TAGS, grey_of, oriented
from braintumor.runtime.image.jpeg import check_scans, check_whole
from braintumor.runtime.image.png import check_rows
from braintumor.runtime.image.resize import RESIZES, Pixels, Resize, resize
from braintumor.runtime.image.tiff import check_layout, count_frames, silence_libtiff

__all__ = [
    "DECODE_VERSION",
    "FORMATS",
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "MAX_SIDE",
    "RESIZES",
    "SUFFIXES",
    "GreyImage",
    "Pixels",
    "Resize",
    "decode_grey",
    "grey_from_array",
    "read_bytes",
    "read_grey",
    "resize",
]


# Pillow logs some damage, which Python prints where an application has set up no logging, and raises it as well.
logging.getLogger("PIL").addHandler(logging.NullHandler())

DECODE_VERSION = "braintumor.decode/1"
"""Names the rules above. A bundle records it; two versions may give different pixels for one file."""

MAX_PIXELS = 89_478_485
"""The largest frame that is decoded, in pixels: the level at which Pillow starts to warn, 9,459 x 9,459."""

MAX_SIDE = 65_535
"""The longest side that is decoded, in pixels: JPEG's own limit. Resizing needs memory that grows with the side."""

MAX_FILE_BYTES = 1 << 30
"""The largest file that is read, in bytes (1 GiB)."""

_EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True, slots=True, eq=False)
class GreyImage:
    """One decoded image and where it came from."""

    pixels: Pixels
    """Grey levels 0..255, uint8 [H, W], row 0 on top after EXIF orientation; C-contiguous and read-only."""
    format: str
    """One of `FORMATS`, by the file's content."""
    frames: int
    """The number of frames or pages in the file; frame 0 was read."""
    bits: int
    """Bits per channel in the file (of the palette index for palette images): 1 … 64."""
    sha256: str
    """SHA-256 of the file's bytes, 64 lower-case hexadecimal digits."""
    orientation: int = 1
    """EXIF's tag 0x0112, 1..8, by which the pixels were turned and mirrored; 1 for not at all."""
    transparent: bool = False
    """Whether pixels are transparent, wholly or in part: these were darkened."""


def read_grey(source: str | os.PathLike[str] | bytes) -> GreyImage:
    """Read one image file as 8-bit grey, by the rules at the top of this module.

    Args:
        source: a path, or the bytes of a file.

    Raises:
        InputError: the file is missing, empty, a folder, too large, truncated, damaged or of another format.
            The message is one line with the file and the problem; the remedy says how to fix it.
    """
    return decode_grey(*read_bytes(source))


def decode_grey(name: str, data: bytes) -> GreyImage:
    """Decode the bytes of an image file, as `read_grey`.

    Args:
        name: For messages.
        data: The file.

    Raises:
        InputError: As `read_grey`.
    """
    kind = _identify(name, data)
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        problem = "this process told Pillow to fill in the missing part of truncated images"
        _refuse(name, problem, "set PIL.ImageFile.LOAD_TRUNCATED_IMAGES = False")
    try:
        return _decode(kind, data)
    except InputError as error:
        raise InputError(f"{name}: {error.message}", error.remedy) from None
    except MemoryError as error:
        _refuse(name, "decoding it takes more memory than it may", "export the slice alone, or shrink it", error)
    except Exception as error:  # noqa: BLE001 - see the last of the rules above
        _refuse(name, f"damaged or unsupported {kind} ({_one_line(error)})", "copy or export it again", error)


def grey_from_array(array: NDArray[Any]) -> Pixels:
    """Return pixels that an application already holds as grey levels.

    Args:
        array: uint8 [H, W] grey, returned as it is (not copied), or uint8 [H, W, 3] RGB.

    Returns:
        uint8 [H, W], C-contiguous; for RGB the same grey that `read_grey` gives for those pixels.

    Raises:
        InputError: another type, dtype or shape, or no pixels.
    """
    allowed = "pass a NumPy array, uint8 [H, W] grey or [H, W, 3] RGB; scale wider data to 0..255 first"
    if not isinstance(array, np.ndarray):
        _refuse("array", f"found a {type(array).__name__}", allowed)
    grey, colour = 2, 3
    fits = array.ndim == grey or (array.ndim == colour and array.shape[-1] == len("RGB"))
    if array.dtype != np.uint8 or not fits or array.size == 0:
        _refuse("array", f"found {array.dtype} of shape {list(array.shape)}", allowed)
    levels: Pixels = np.ascontiguousarray(array)
    return levels if levels.ndim == grey else np.asarray(Image.fromarray(levels).convert("L"))


def _refuse(name: str, problem: str, remedy: str, cause: BaseException | None = None) -> NoReturn:
    raise InputError(f"{name}: {problem}", remedy) from cause


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def read_bytes(source: str | os.PathLike[str] | bytes) -> tuple[str, bytes]:
    """Return a printable name and the bytes of a file that may be an image.

    Raises:
        InputError: It is missing, a folder, not a regular file, too large, or cannot be read.
    """
    if isinstance(source, bytes):
        return f"image of {len(source):,} bytes in memory", source
    path = os.fspath(source)
    name = path if path.isprintable() else ascii(path)
    try:
        # Checked before opening: opening a pipe would wait for its writer, and Windows opens no folder.
        status = os.stat(path)  # noqa: PTH116 - a Path would normalise the name
        _check_kind_of_file(name, status)
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - as above
            return name, file.readall()
    except FileNotFoundError as error:
        _refuse(name, "no such file", "check the path", error)
    except PermissionError as error:
        _refuse(name, "no permission to read it", "ask its owner for permission, or copy it", error)
    except MemoryError as error:
        _refuse(name, "reading it takes more memory than there is", "export the slice alone, or shrink it", error)
    except (OSError, ValueError) as error:  # ValueError: a name that no file system takes, as one with NUL
        reason = error.strerror if isinstance(error, OSError) and error.strerror else _one_line(error)
        _refuse(name, f"cannot be read ({reason})", "check the path and the disk", error)


def _check_kind_of_file(name: str, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        _refuse(name, "a folder", "pass the image files in it")
    if not stat.S_ISREG(status.st_mode):
        _refuse(name, "not a regular file", "copy the image into a file first")
    if status.st_size > MAX_FILE_BYTES:
        size = f"{status.st_size:,} bytes, the limit is {MAX_FILE_BYTES:,}"
        _refuse(name, size, "export the slice alone as PNG or TIFF")


def _identify(name: str, data: bytes) -> str:
    if not data:
        _refuse(name, "an empty file", "copy or export it again")
    head = data[:HEAD_BYTES]
    kind = detect_format(head)
    if kind is not None:
        return kind
    problem, remedy = describe_foreign(head) or ("not an image that is known here", "save it as PNG")
    readable = f"{', '.join(FORMATS[:-1])} and {FORMATS[-1]}"
    _refuse(name, f"{problem}; only {readable} are read", remedy)


def _open(kind: str, data: bytes) -> ImageFile.ImageFile:
    # Pillow's classes are called directly, not through `Image.open`: that one warns of large images through
    # the process-wide `warnings` filters (which no thread can change safely) and imports all of its forty
    # decoders to find TIFF. Here only these four can run, and `_decode` checks the size before any pixel.
    if kind == "PNG":
        from PIL.PngImagePlugin import PngImageFile

        # Decoding skips the checksums of pixel data; `verify` checks them and that the file is complete.
        with PngImageFile(io.BytesIO(data)) as probe:
            probe.verify()
        return PngImageFile(io.BytesIO(data))
    if kind == "JPEG":
        from PIL.JpegImagePlugin import JpegImageFile

        return JpegImageFile(io.BytesIO(data))
    if kind == "TIFF":
        from PIL.TiffImagePlugin import TiffImageFile

        silence_libtiff()
        return TiffImageFile(io.BytesIO(data))
    from PIL.BmpImagePlugin import BmpImageFile

    return BmpImageFile(io.BytesIO(data))


def _decode(kind: str, data: bytes) -> GreyImage:
    with _open(kind, data) as image:
        _check_size(*image.size)
        tags = _tiff_tags(image)
        bits = _bits(kind, data, tags)
        frames = count_frames(data) if kind == "TIFF" else int(getattr(image, "n_frames", 1))
        orientation = _load(kind, data, image)
        grey, transparent = grey_of(image, bits, tags)
    # Pillow's pixels are freed before the grey ones are copied.
    pixels = np.ascontiguousarray(grey if kind == "TIFF" else oriented(grey, orientation))
    pixels.flags.writeable = False
    return GreyImage(pixels, kind, frames, bits, hashlib.sha256(data).hexdigest(), orientation, transparent)


def _load(kind: str, data: bytes, image: ImageFile.ImageFile) -> int:
    """Decode the pixels, all of which must be there, and return the orientation; only those of TIFF are turned."""
    if kind == "TIFF":
        check_layout(image.tag_v2)  # type: ignore[attr-defined]  # of TiffImageFile
        orientation = _orientation(image.getexif())  # before `load`, which turns the pixels
        image.load()
        return orientation
    if kind == "JPEG":
        check_scans(data, image.width * image.height)
    image.load()
    if kind == "JPEG":
        check_whole(data, image)
    elif kind == "PNG":
        check_rows(data, image)
    return _orientation(image.getexif())


def _check_size(width: int, height: int) -> None:
    size, remedy = f"{width} x {height}", "export the slice alone, or shrink it"
    if width * height > MAX_PIXELS:
        raise InputError(f"{size} = {width * height:,} pixels, the limit is {MAX_PIXELS:,}", remedy)
    if max(width, height) > MAX_SIDE:
        raise InputError(f"{size} pixels, the limit of a side is {MAX_SIDE:,}", remedy)


def _orientation(exif: Image.Exif) -> int:
    """The orientation, 1..8; anything else is undefined and means 1, as in every viewer."""
    orientation = exif.get(_EXIF_ORIENTATION)
    return orientation if isinstance(orientation, int) and orientation in range(1, 9) else 1


def _tiff_tags(image: ImageFile.ImageFile) -> dict[int, Any]:
    tags = getattr(image, "tag_v2", {})
    return {tag: tags[tag] for tag in TIFF_TAGS if tag in tags}


def _bits(kind: str, data: bytes, tags: dict[int, Any]) -> int:
    if kind == "PNG":
        return data[24]  # IHDR is always the first chunk
    if kind == "TIFF":
        return int(max(tags.get(TIFF_BITS, (1,))))
    if kind == "BMP":
        os2_header = data[14:18] == b"\x0c\0\0\0"  # has narrower fields
        a_pixel = int.from_bytes(data[24:26] if os2_header else data[28:30], "little")
        return {16: 5, 24: 8, 32: 8}.get(a_pixel, a_pixel)
    return 8  # Pillow reads no other JPEG
