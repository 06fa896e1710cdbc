"""Perceptual hashes of images, and the distances between them."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from braintumor.optional import require
from braintumor.runtime.image.resize import resize

__all__ = ["HASH_SIZE", "distances", "phash", "phashes"]

HASH_SIZE = 224
"""Pixels a side of the grey image that is hashed."""


def phash(pixels: NDArray[np.uint8]) -> int:
    """Compute the 64-bit `imagehash.phash` of a grey image, at 224 x 224.

    Args:
        pixels: uint8 [height, width].

    Raises:
        UnavailableError: imagehash is not installed.
    """
    imagehash = require("imagehash", extra="train", purpose="comparing images")
    value = imagehash.phash(Image.fromarray(resize(pixels, HASH_SIZE, HASH_SIZE)))
    return int(str(value), 16)


def phashes(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Hash uint8 [n, height, width]: uint64 [n]."""
    return np.array([phash(image) for image in images], dtype=np.uint64)


def distances(hashes: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Count differing bits, uint8 [n, m], between uint64 [n] and uint64 [m]."""
    bits: NDArray[np.uint8] = np.bitwise_count(hashes[:, None] ^ others[None, :])
    return bits
