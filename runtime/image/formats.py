"""Formats of files by their first bytes: those that are read, and those to be converted first.

Names are never trusted: `scan.png` may hold a DICOM slice and a download may end in `.jpg` and be a web page.
"""

import re
import zlib

__all__ = ["FORMATS", "HEAD_BYTES", "describe_foreign", "detect_format"]

FORMATS: tuple[str, ...] = ("PNG", "JPEG", "TIFF", "BMP")
"""The formats that are decoded: every further decoder is more code that meets foreign bytes."""

HEAD_BYTES = 512
"""The part of a file that `detect_format` and `describe_foreign` read, in bytes."""

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),  # BigTIFF
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
)

# Without preamble a DICOM file begins with an element of group 2 or 8: its number, then two letters for the type of
# the value, or a length.
_BARE_DICOM = re.compile(rb"[\x02\x08]\x00[\x00-\x20]\x00(?:[A-Z]{2}|[\x00-\xff][\x00\x01]\x00\x00)", re.DOTALL)
_DICOM = "a DICOM file"

_SLICE = "export the slice as a 16-bit PNG or TIFF in a medical image viewer"
_RESAVE = "save it as PNG"

# (offset, bytes there, kind of the file, remedy)
_FOREIGN: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"version https://git-lfs.github.com/spec/", "a Git LFS pointer, not the file", "fetch it: git lfs pull"),
    (0, b"\0\5\x16\7", "what macOS keeps beside a file (AppleDouble)", "take the file without ._ in its name"),
    (344, b"n+1\0", "a NIfTI volume", _SLICE),
    (344, b"ni1\0", "a NIfTI header", _SLICE),
    (4, b"n+2\0", "a NIfTI-2 volume", _SLICE),
    (4, b"ni2\0", "a NIfTI-2 header", _SLICE),
    (0, b"NRRD", "an NRRD volume", _SLICE),
    (0, b"CDF\x01", "a MINC volume", _SLICE),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (a MINC volume or saved weights)", _SLICE),
    (0, b"GIF8", "a GIF", _RESAVE),
    (8, b"WEBP", "a WebP", _RESAVE),
    (4, b"ftypavif", "an AVIF", _RESAVE),
    (4, b"ftyp", "an HEIF picture or a film", _RESAVE),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000", _RESAVE),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000", _RESAVE),
    (0, b"\xff\x0a", "a JPEG XL", _RESAVE),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL", _RESAVE),
    (0, b"8BPS", "a Photoshop file", _RESAVE),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR", _RESAVE),
    (0, b"%PDF", "a PDF", "export the picture in it as PNG"),
    (0, b"\x93NUMPY", "a NumPy array", "load it and pass it to the Python API, or save it as PNG"),
    (0, b"PK\x03\x04", "a ZIP archive (.zip, .keras, .npz, .docx)", "unpack it and pass the images in it"),
    (0, b"\x1f\x8b", "gzip-compressed", "unpack it and pass the image in it"),
)


def detect_format(head: bytes) -> str | None:
    """Return which of `FORMATS` a file is by its first bytes (`HEAD_BYTES` of them suffice), or None."""
    if _is_dicom(head):  # the 128 bytes before may be those of a TIFF (DICOM PS3.10, 7.1)
        return None
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)


def describe_foreign(head: bytes) -> tuple[str, str] | None:
    """The kind of a file that is not one of `FORMATS`, and the remedy.

    Args:
        head: the first `HEAD_BYTES` of the file.

    Returns:
        Two clauses, such as ("a DICOM file", "export the slice as …"), or None for what is not recognised.
    """
    kind = _foreign(head)
    if kind and kind[0] == "gzip-compressed":
        # A `.nii.gz` is worth naming: it is what a researcher's folder is full of.
        inner = _foreign(_inflate(head))
        return (f"{inner[0]}, gzip-compressed", inner[1]) if inner else kind
    if kind:
        return kind
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<?xml", b"<svg")):
        return ("a web page, SVG or XML", "download the picture itself, or save it as PNG")
    return None


def _is_dicom(head: bytes) -> bool:
    return head.startswith(b"DICM", 128) or _BARE_DICOM.match(head) is not None


def _foreign(head: bytes) -> tuple[str, str] | None:
    if _is_dicom(head):
        return _DICOM, _SLICE
    for offset, magic, kind, remedy in _FOREIGN:
        if head.startswith(magic, offset):
            return kind, remedy
    return None


def _inflate(head: bytes) -> bytes:
    """The first bytes inside a gzip stream, as far as they can be read; b"" when it is damaged."""
    try:
        return zlib.decompressobj(wbits=31).decompress(head, HEAD_BYTES)
    except zlib.error:
        return b""
