"""Slices in folders: every image file at any depth, decoded, in the order of the paths."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import InputError
from braintumor.runtime.image.decode import read_grey
from braintumor.runtime.image.folder import list_images
from braintumor.runtime.image.head import padded_to_square
from braintumor.runtime.image.resize import resize
from braintumor.training.data.prepare import PREPARED_SIZE

__all__ = ["read_slices", "squared"]


def read_slices(
    folder: Path, unreadable: list[str], tick: Callable[[], None]
) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
    """Read all image files below a folder.

    Args:
        folder: Files at any depth; those without the name of an image are passed over.
        unreadable: Gets the reason for each file that is not an image, and a line about hidden ones.
        tick: Called after every file.

    Yields:
        The path, and the pixels uint8 [height, width] as they are in the file.
    """
    for path in list_images(folder, unreadable.append):
        try:
            pixels = read_grey(path).pixels
        except InputError as error:
            unreadable.append(str(error))
        else:
            yield path, pixels
        tick()


def squared(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pad a slice of any proportions to a square and resize it: uint8 [224, 224]."""
    return resize(padded_to_square(pixels), PREPARED_SIZE, PREPARED_SIZE)
