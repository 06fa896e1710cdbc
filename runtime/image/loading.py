"""From a source to the members' inputs: decoded once, resized to every size that the bundle's members need."""

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import InputError
from braintumor.runtime.image.decode import grey_from_array, read_grey
from braintumor.runtime.image.geometry import Geometry, apply_geometry
from braintumor.runtime.prediction import ImageInfo

__all__ = ["PreparedImage", "Source", "elapsed_ms", "failed_image", "prepare_image"]

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
    return PreparedImage(ImageInfo(path=_path(source)), decode_ms, {}, error)


def elapsed_ms(start: float) -> float:
    """Milliseconds since `time.perf_counter` gave `start`."""
    return (time.perf_counter() - start) * 1000.0


def _read(source: Source) -> tuple[ImageInfo, NDArray[np.uint8]]:
    if isinstance(source, np.ndarray):
        grey = grey_from_array(source)
        digest = hashlib.sha256(np.ascontiguousarray(grey).tobytes()).hexdigest()
        height, width = grey.shape
        return ImageInfo(None, digest, "array", width, height, 8, 0, 1, 1, transparent=False), grey
    if isinstance(source, bytearray | memoryview):
        source = bytes(source)
    if not isinstance(source, str | os.PathLike | bytes):
        kind = type(source)
        raise InputError(
            f"an image was given as {kind.__module__}.{kind.__qualname__}; allowed are a path, a file's bytes, "
            "and a uint8 array of pixels",
            "pass np.asarray(image.convert('L')) of a PIL image, file.read() of an open file",
        )
    image = read_grey(source)
    height, width = image.pixels.shape
    info = ImageInfo(
        _path(source),
        image.sha256,
        image.format,
        width,
        height,
        image.bits,
        0,
        image.frames,
        image.orientation,
        image.transparent,
    )
    return info, image.pixels


def _path(source: Source) -> str | None:
    return os.fsdecode(source) if isinstance(source, str | os.PathLike) else None
