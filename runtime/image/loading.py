"""From a source to the members' inputs: decoded once, resized to every size that the bundle's members need."""

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import InputError
from braintumor.runtime.image.decode import GreyImage, decode_grey, grey_from_array, read_bytes
from braintumor.runtime.image.geometry import Geometry, apply_geometry
from braintumor.runtime.prediction import ImageInfo

__all__ = [
    "PreparedImage",
    "Source",
    "elapsed_ms",
    "failed_image",
    "image_info",
    "path_of",
    "prepare_image",
    "read_source",
]

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | NDArray[np.uint8]
"""An image: a path, a file's bytes, or uint8 [height, width] or [height, width, 3]."""


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """One decoded image in every requested geometry, or its error.

    Attributes:
        image: Path, hash, format and size.
        decode_ms: Time of decoding and resizing.
        pixels: Geometry → uint8 [height, width].
        error: Of an image that cannot be read.
    """

    image: ImageInfo
    decode_ms: float
    pixels: Mapping[Geometry, NDArray[np.uint8]]
    error: InputError | None = None


def prepare_image(source: Source, geometries: Iterable[Geometry]) -> PreparedImage:
    """Decode and resize; an image that cannot be read comes back with its error."""
    start = time.perf_counter()
    try:
        image, grey = _read(source)
        pixels = {geometry: apply_geometry(grey, geometry) for geometry in geometries}
    except InputError as error:
        return failed_image(source, error, elapsed_ms(start))
    return PreparedImage(image, elapsed_ms(start), pixels)


def failed_image(source: Source, error: InputError, decode_ms: float) -> PreparedImage:
    """An image that cannot be read, with the reason."""
    return PreparedImage(ImageInfo(path=path_of(source)), decode_ms, {}, error)


def elapsed_ms(start: float) -> float:
    """Milliseconds since `time.perf_counter` gave `start`."""
    return (time.perf_counter() - start) * 1000.0


def read_source(source: Source) -> tuple[str, bytes]:
    """Return a printable name and the bytes of a source that is no array.

    Raises:
        InputError: It cannot be read, or is of a type that is not an image.
    """
    if isinstance(source, bytearray | memoryview):
        source = bytes(source)
    if not isinstance(source, str | os.PathLike | bytes):
        kind = type(source)
        raise InputError(
            f"an image was given as {kind.__module__}.{kind.__qualname__}; allowed are a path, a file's bytes, "
            "and a uint8 array of pixels",
            "pass np.asarray(image.convert('L')) of a PIL image, file.read() of an open file",
        )
    return read_bytes(source)


def image_info(path: str | None, image: GreyImage) -> ImageInfo:
    """What a prediction says about a decoded image."""
    height, width = image.pixels.shape
    return ImageInfo(
        path=path,
        sha256=image.sha256,
        format=image.format,
        width=width,
        height=height,
        bits=image.bits,
        frame=0,
        frames=image.frames,
        orientation=image.orientation,
        transparent=image.transparent,
    )


def path_of(source: Source) -> str | None:
    """The path of a source as it was given; None for bytes and arrays."""
    return os.fsdecode(source) if isinstance(source, str | os.PathLike) else None


def _read(source: Source) -> tuple[ImageInfo, NDArray[np.uint8]]:
    if isinstance(source, np.ndarray):
        grey = grey_from_array(source)
        digest = hashlib.sha256(np.ascontiguousarray(grey).tobytes()).hexdigest()
        height, width = grey.shape
        return ImageInfo(None, digest, "array", width, height, 8, 0, 1, 1, transparent=False), grey
    image = decode_grey(*read_source(source))
    return image_info(path_of(source), image), image.pixels
