"""Random versions of grey images: other geometry, and other ways in which a picture came to be stored.

Position, size and turn are what a head has anyway. Resolution, sharpness, grey levels, noise and compression tell
the source of a picture, and a network that may use them learns the source instead of the tumour: `degrade` makes them
random.

Pillow releases the interpreter's lock, so a worker thread prepares the next batch while the network computes;
`bench/perf/training_throughput.py` compares this with the Keras layers.
"""

import io
import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from braintumor.training.recipe import Augmentation

__all__ = ["augment", "augment_batch"]

_FILTERS: Final = (
    Image.Resampling.BILINEAR,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
    Image.Resampling.BOX,
    Image.Resampling.HAMMING,
    Image.Resampling.NEAREST,
)
_SMALLEST, _LARGEST = 0.35, 1.75
"""Factors of the target size: the sizes through which an image is resampled."""

_BLUR_PX, _SHARPEN_PERCENT, _GAMMA, _BIAS, _NOISE, _JPEG = 1.2, 200.0, 0.45, 0.35, 9.0, (25, 95)
"""The ranges at full strength: sigma in pixels, of Pillow's unsharp mask, logarithms, grey levels, quality."""

_ASPECT = 0.5
"""Of the zoom: how far width and height may differ."""

_PATCH = 0.35
"""Largest side of an erased patch, as a part of the image."""


def augment(
    pixels: np.ndarray, options: Augmentation, rng: np.random.Generator, size: int | None = None
) -> np.ndarray:
    """Make one random version of an image.

    Args:
        pixels: uint8 [height, width].
        options: The ranges.
        rng: The same amount of numbers is drawn from it, whatever the options, so that one option does not change
            another.
        size: Pixels a side of the result; None for those of the image.

    Returns:
        uint8 [height, width] or [size, size]. What comes in from outside the image is black, as around a head.
    """
    geometry, chance, amount = rng.uniform(-1.0, 1.0, 7), rng.uniform(0.0, 1.0, 10), rng.uniform(0.0, 1.0, 14)
    noise = np.random.default_rng(rng.integers(2**63))
    image = _moved(Image.fromarray(pixels), options, geometry)
    target_size = pixels.shape[::-1] if size is None else (size, size)
    strength = options.degrade
    image = _resampled(image, target_size, strength, chance, amount)
    if strength:
        image = _sharpened(image, strength, chance, amount)
    if options.contrast or strength:
        image = Image.fromarray(_relit(np.asarray(image), options, geometry[4], chance, amount, noise))
    if chance[7] < 0.45 * strength:
        image = _compressed(image, int(_JPEG[0] + amount[9] * (_JPEG[1] - _JPEG[0])))
    changed = np.asarray(image)
    return _erased(changed, amount[10:14], noise) if chance[8] < options.erase else changed


def augment_batch(
    images: np.ndarray, options: Augmentation, rng: np.random.Generator, size: int | None = None
) -> np.ndarray:
    """Make random versions of uint8 [n, height, width], as uint8 of the same shape or [n, size, size]."""
    return np.stack([augment(image, options, rng, size) for image in images])


def _moved(image: Image.Image, options: Augmentation, drawn: NDArray[np.float64]) -> Image.Image:
    """The image turned, zoomed, stretched, shifted and mirrored, by one affine map."""
    angle, zoom, right, down, _, flip, stretch = drawn
    width, height = image.size
    radians = math.radians(options.rotation_deg * angle)
    scale, uneven = 1.0 / (1.0 + options.zoom * zoom), 1.0 + _ASPECT * options.zoom * stretch
    mirror = -1.0 if options.flip and flip < 0 else 1.0
    if not radians and scale == uneven == 1 and not options.shift:
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirror < 0 else image
    cos, sin = scale * math.cos(radians), scale * math.sin(radians)
    centre_x, centre_y = width / 2, height / 2
    from_x, from_y = centre_x + options.shift * right * width, centre_y + options.shift * down * height
    # Output pixel (x, y) is read at (a x + b y + c, d x + e y + f): about the centre, mirrored first.
    a, b, d, e = cos * mirror * uneven, -sin, sin * mirror * uneven, cos
    matrix = (a, b, from_x - a * centre_x - b * centre_y, d, e, from_y - d * centre_x - e * centre_y)
    return image.transform((width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)


def _resampled(
    image: Image.Image,
    size: tuple[int, int],
    strength: float,
    chance: NDArray[np.float64],
    amount: NDArray[np.float64],
) -> Image.Image:
    """The image at the wanted size: through a random size first, and by a random filter."""
    if chance[0] < 0.5 * strength:
        factor = _SMALLEST * (_LARGEST / _SMALLEST) ** amount[0]
        between = (max(8, round(size[0] * factor)), max(8, round(size[1] * factor)))
        image = image.resize(between, _filter(chance[1], amount[1], strength))
    return image if image.size == size else image.resize(size, _filter(chance[2], amount[2], strength))


def _filter(chance: float, amount: float, strength: float) -> Image.Resampling:
    """Bilinear, as the runtime; at full strength in half of the cases any of the six, bilinear included."""
    return _FILTERS[int(amount * len(_FILTERS))] if chance < 0.5 * strength else Image.Resampling.BILINEAR


def _sharpened(
    image: Image.Image, strength: float, chance: NDArray[np.float64], amount: NDArray[np.float64]
) -> Image.Image:
    if chance[3] < 0.25 * strength:
        return image.filter(ImageFilter.GaussianBlur(float(_BLUR_PX * amount[3])))
    if chance[3] > 1 - 0.25 * strength:
        return image.filter(ImageFilter.UnsharpMask(float(0.6 + amount[4]), int(_SHARPEN_PERCENT * amount[3]), 0))
    return image


def _relit(
    pixels: np.ndarray,
    options: Augmentation,
    contrast: float,
    chance: NDArray[np.float64],
    amount: NDArray[np.float64],
    noise: np.random.Generator,
) -> np.ndarray:
    """Other contrast, and at some strength another gamma, brightness, coil sensitivity and noise."""
    levels: NDArray[np.floating[Any]] = pixels.astype(np.float32)
    mean = float(levels.mean())
    levels = (levels - mean) * np.float32(1.0 + options.contrast * contrast) + np.float32(mean)
    strength = options.degrade
    if chance[4] < 0.6 * strength:
        gamma = math.exp(_GAMMA * (2 * amount[5] - 1))
        levels = np.float32(255) * (np.clip(levels, 0, 255) / 255) ** np.float32(gamma)
    if chance[5] < 0.4 * strength:
        levels = levels * _bias_field(levels.shape, noise)
    if strength:
        levels = levels * np.float32(1 + 0.2 * strength * (2 * amount[6] - 1))
    if chance[6] < 0.35 * strength:
        levels = levels + noise.normal(0, _NOISE * amount[7], levels.shape).astype(np.float32)
    clipped: np.ndarray = np.clip(levels + 0.5, 0, 255).astype(np.uint8)
    return clipped


def _bias_field(shape: tuple[int, ...], noise: np.random.Generator) -> NDArray[np.float32]:
    """A smooth factor about 1: exp of a polynomial of second order in the position."""
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    a, b, c, d, e = noise.uniform(-_BIAS, _BIAS, 5).astype(np.float32)
    field: NDArray[np.float32] = np.exp(a * x + b * y + c * x * y + d * (x * x - 0.5) + e * (y * y - 0.5))
    return field


def _compressed(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    stream.seek(0)
    return Image.open(stream).convert("L")


def _erased(pixels: np.ndarray, drawn: NDArray[np.float64], noise: np.random.Generator) -> np.ndarray:
    """A rectangle filled with one grey level."""
    height, width = pixels.shape
    rows, columns = max(1, round(height * _PATCH * drawn[0])), max(1, round(width * _PATCH * drawn[1]))
    top, left = int(drawn[2] * (height - rows)), int(drawn[3] * (width - columns))
    changed = pixels.copy()
    changed[top : top + rows, left : left + columns] = noise.integers(0, 160)
    return changed
