"""Random versions of grey images, computed by JAX: `training.data.augment` as one compiled function.

It differs from the Pillow version: images are resampled through smaller sizes only and come back to their own size,
by one filter a batch out of four; width and height are not stretched apart; the movement is interpolated linearly,
not bicubically.
"""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.training.recipe import Augmentation

__all__ = ["augmented", "degraded", "erased", "jpeg_compressed"]

_SMALLEST: Final = 0.35
_BLUR_PX, _SHARPEN, _GAMMA, _BIAS, _NOISE, _JPEG = 1.2, 2.0, 0.45, 0.35, 9.0, (25.0, 95.0)
"""The ranges at full strength, as those of `training.data.augment`."""

_TAPS: Final = 4
"""Pixels to either side that a blur reads."""

_PATCH = 0.35
_BLOCK: Final = 8

# fmt: off
_LUMINANCE: Final = np.array([
    [16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55], [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62], [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99],
], np.float32)
"""Quantisation of luminance at quality 50: ITU-T T.81, table K.1."""
# fmt: on


def augmented(jax: Any, images: Any, options: Augmentation, key: Any) -> Any:
    """Random versions of uint8 [n, size, size], as float32 of the same shape, 0..255.

    Args:
        jax: The module.
        images: uint8 [n, size, size].
        options: The ranges.
        key: JAX's random key.
    """
    geometry, degradation, patch = (jax.random.fold_in(key, number) for number in range(3))
    moved = _moved(jax, images.astype(jax.numpy.float32), options, geometry)
    if options.degrade:
        moved = degraded(jax, moved, options.degrade, degradation)
    return erased(jax, moved, options.erase, patch) if options.erase else moved


def degraded(jax: Any, images: Any, strength: float, key: Any) -> Any:
    """Images of random resolution, sharpness, grey levels, noise and compression: what tells their source.

    Args:
        jax: The module.
        images: float32 [n, size, size], 0..255.
        strength: 0 to 1.
        key: JAX's random key.

    Returns:
        float32 of the same shape, whole numbers 0..255.
    """
    numpy = jax.numpy
    filter_key, chance_key, amount_key, field_key, noise_key = jax.random.split(key, 5)
    count = images.shape[0]
    chance = jax.random.uniform(chance_key, (6, count))
    amount = jax.random.uniform(amount_key, (7, count))

    def in_some(number: int, share: float, changed: Any, values: Any) -> Any:
        return numpy.where(_per_image(chance[number] < share * strength), changed, values)

    factor = _SMALLEST ** amount[0]
    images = in_some(0, 0.5, _resampled(jax, images, factor, filter_key), images)
    soft = _blurred(numpy, images, _BLUR_PX * amount[1] + 1e-3)
    sharp = images + _per_image(_SHARPEN * amount[2]) * (images - _blurred(numpy, images, 0.6 + amount[1]))
    images = numpy.where(_per_image(chance[1] > 1 - 0.25 * strength), sharp, in_some(1, 0.25, soft, images))
    levels = numpy.clip(images, 0, 255) / 255
    gamma = numpy.exp(_GAMMA * (2 * amount[3] - 1))
    images = in_some(2, 0.6, 255 * levels ** _per_image(gamma), 255 * levels)
    images = in_some(3, 0.4, images * _bias_field(jax, images.shape, field_key), images)
    images = images * _per_image(1 + 0.2 * strength * (2 * amount[4] - 1))
    noise = jax.random.normal(noise_key, images.shape) * _per_image(_NOISE * amount[5])
    images = numpy.clip(numpy.round(in_some(4, 0.35, images + noise, images)), 0, 255)
    quality = _JPEG[0] + amount[6] * (_JPEG[1] - _JPEG[0])
    return in_some(5, 0.45, jpeg_compressed(jax, images, quality), images)


def jpeg_compressed(jax: Any, images: Any, quality: Any) -> Any:
    """Compress grey images as baseline JPEG, and decode them again.

    Args:
        jax: The module.
        images: float32 [n, size, size], whole numbers 0..255; edges are repeated up to a multiple of 8 pixels.
        quality: float32 [n], 1 to 100, scaled as by libjpeg.

    Returns:
        float32 of the same shape, whole numbers 0..255.
    """
    numpy = jax.numpy
    count, height, width = images.shape
    padded = numpy.pad(images, ((0, 0), (0, -height % _BLOCK), (0, -width % _BLOCK)), mode="edge") - 128.0
    rows, columns = padded.shape[1] // _BLOCK, padded.shape[2] // _BLOCK
    blocks = padded.reshape(count, rows, _BLOCK, columns, _BLOCK).transpose(0, 1, 3, 2, 4)
    percent = numpy.where(quality < 50, 5000 / quality, 200 - 2 * quality)  # noqa: PLR2004 - libjpeg's formula
    table = numpy.clip(numpy.floor((_LUMINANCE * percent[:, None, None] + 50) / 100), 1, 255)[:, None, None]
    cosines = _cosines()
    coefficients = numpy.round(cosines @ blocks @ cosines.T / table) * table
    restored = (cosines.T @ coefficients @ cosines).transpose(0, 1, 3, 2, 4).reshape(padded.shape)
    return numpy.clip(numpy.round(restored + 128.0), 0, 255)[:, :height, :width]


def erased(jax: Any, images: Any, share: float, key: Any) -> Any:
    """Images of which a part `share` has a rectangle of one grey level: float32 [n, size, size]."""
    numpy = jax.numpy
    size = images.shape[1]
    chance, high, wide, top, left, level = jax.random.uniform(key, (6, images.shape[0]))
    grid = numpy.arange(size)

    def inside(extent: Any, start: Any) -> Any:
        pixels = numpy.maximum(1, numpy.round(size * _PATCH * extent))
        first = numpy.floor(start * (size - pixels))
        return (grid >= first[:, None]) & (grid < (first + pixels)[:, None])

    patch = inside(high, top)[:, :, None] & inside(wide, left)[:, None, :] & _per_image(chance < share)
    return numpy.where(patch, _per_image(numpy.floor(160 * level)), images)


def _moved(jax: Any, images: Any, options: Augmentation, key: Any) -> Any:
    """Images turned, zoomed, shifted, mirrored, and of other contrast."""
    numpy = jax.numpy
    size = images.shape[1]
    angle, zoom, right, down, contrast, flip = jax.random.uniform(key, (6, images.shape[0]), minval=-1.0, maxval=1.0)
    scale = 1.0 / (1.0 + options.zoom * zoom)
    radians = math.radians(options.rotation_deg) * angle
    cos, sin = scale * numpy.cos(radians), scale * numpy.sin(radians)
    mirror = numpy.where((flip < 0) & options.flip, -1.0, 1.0)
    grid = numpy.arange(size) - (size - 1) / 2
    x, y = grid[None, None, :], grid[None, :, None]
    centre_x = (size - 1) / 2 + _per_image(options.shift * right * size)
    centre_y = (size - 1) / 2 + _per_image(options.shift * down * size)
    from_x = _per_image(cos * mirror) * x - _per_image(sin) * y + centre_x
    from_y = _per_image(sin * mirror) * x + _per_image(cos) * y + centre_y
    sample = jax.vmap(lambda image, rows, columns: jax.scipy.ndimage.map_coordinates(image, [rows, columns], order=1))
    moved = sample(images, from_y, from_x)
    mean = moved.mean(axis=(1, 2), keepdims=True)
    return numpy.clip(mean + (moved - mean) * (1 + options.contrast * _per_image(contrast)), 0.0, 255.0)


def _resampled(jax: Any, images: Any, factor: Any, key: Any) -> Any:
    """Images brought to `factor` (float32 [n], up to 1) of their size and back, by a filter that the key decides."""
    numpy = jax.numpy
    size = images.shape[1]

    def by_filter(method: str) -> Any:
        def resize(image: Any, scale: Any) -> Any:
            scales, still = numpy.stack([scale, scale]), numpy.zeros(2)
            resample = jax.image.scale_and_translate
            small = resample(image, (size, size), (0, 1), scales, still, method=method)
            return resample(small, (size, size), (0, 1), 1 / scales, still, method=method)

        return jax.vmap(resize)

    def nearest(values: Any, scales: Any) -> Any:
        def resize(image: Any, scale: Any) -> Any:
            source = numpy.floor((numpy.floor((numpy.arange(size) + 0.5) * scale) + 0.5) / scale)
            index = numpy.clip(source, 0, size - 1).astype(int)
            return image[index][:, index]

        return jax.vmap(resize)(values, scales)

    filters = (by_filter("linear"), by_filter("cubic"), by_filter("lanczos3"), nearest)
    return jax.lax.switch(jax.random.randint(key, (), 0, len(filters)), filters, images, factor)


def _blurred(numpy: Any, images: Any, sigma: Any) -> Any:
    """Images under a Gaussian of `sigma` pixels, float32 [n], cut off after `_TAPS` pixels."""
    offsets = np.arange(-_TAPS, _TAPS + 1)
    weights = numpy.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    weights = weights / weights.sum(axis=1, keepdims=True)
    for axis in (1, 2):
        padding = [(0, 0), (0, 0), (0, 0)]
        padding[axis] = (_TAPS, _TAPS)
        padded, length = numpy.pad(images, padding, mode="edge"), images.shape[axis]
        shifted = [numpy.take(padded, np.arange(tap, tap + length), axis=axis) for tap in range(len(offsets))]
        images = sum(_per_image(weights[:, tap]) * values for tap, values in enumerate(shifted))
    return images


def _bias_field(jax: Any, shape: tuple[int, ...], key: Any) -> Any:
    """A smooth factor about 1 an image: exp of a polynomial of second order in the position."""
    y = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :, None]
    x = np.linspace(-1, 1, shape[2], dtype=np.float32)[None, None, :]
    a, b, c, d, e = jax.random.uniform(key, (5, shape[0], 1, 1), minval=-_BIAS, maxval=_BIAS)
    return jax.numpy.exp(a * x + b * y + c * x * y + d * (x * x - 0.5) + e * (y * y - 0.5))


def _cosines() -> NDArray[np.float32]:
    """The orthonormal DCT-II of 8 samples, float32 [8, 8]."""
    number = np.arange(_BLOCK)
    basis = np.cos(math.pi * (2 * number[None, :] + 1) * number[:, None] / (2 * _BLOCK)) * math.sqrt(2 / _BLOCK)
    basis[0] /= math.sqrt(2)
    return basis.astype(np.float32)


def _per_image(values: Any) -> Any:
    """One value an image, so that it acts on all its pixels: [n] as [n, 1, 1]."""
    return values[:, None, None]
