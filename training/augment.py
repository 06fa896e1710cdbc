"""Rotation, zoom, shift, mirror and contrast of grey images, by Pillow, one affine map an image.

Pillow releases the interpreter's lock, so a worker thread prepares the next batch while the network computes;
`bench/training_throughput.py` compares this with the Keras layers.
"""

import math

import numpy as np
from PIL import Image

from braintumor.training.recipe import Augmentation

__all__ = ["augment", "augment_batch"]


def augment(pixels: np.ndarray, options: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """One random version of an image.

    Args:
        pixels: uint8 [height, width].
        options: The ranges.
        rng: Six numbers are drawn from it, whatever the options, so that one option does not change another.

    Returns:
        uint8 [height, width]. What comes in from outside the image is black, as around a scanned head.
    """
    angle, zoom, right, down, contrast, flip = rng.uniform(-1.0, 1.0, 6)
    height, width = pixels.shape
    scale = 1.0 / (1.0 + options.zoom * zoom)
    radians = math.radians(options.rotation_deg * angle)
    cos, sin = scale * math.cos(radians), scale * math.sin(radians)
    mirror = -1.0 if options.flip and flip < 0 else 1.0
    centre_x, centre_y = width / 2, height / 2
    from_x = centre_x + options.shift * right * width
    from_y = centre_y + options.shift * down * height
    # Output pixel (x, y) is read at (a x + b y + c, d x + e y + f): about the centre, mirrored first.
    a, b, d, e = cos * mirror, -sin, sin * mirror, cos
    matrix = (a, b, from_x - a * centre_x - b * centre_y, d, e, from_y - d * centre_x - e * centre_y)
    image = Image.fromarray(pixels).transform(
        (width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    if options.contrast:
        factor = 1.0 + options.contrast * contrast
        mean = float(np.asarray(image).mean())
        table = np.clip(np.arange(256) * factor + mean * (1 - factor) + 0.5, 0, 255).astype(np.uint8)
        image = image.point(table.tolist())
    return np.asarray(image)


def augment_batch(images: np.ndarray, options: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Random versions of uint8 [n, height, width], as uint8 of the same shape."""
    return np.stack([augment(image, options, rng) for image in images])
