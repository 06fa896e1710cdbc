"""The images that a latency is measured on: files, since decoding them is a part of every answer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from braintumor.bench.labelled import read_labelled
from braintumor.bench.phantoms import phantoms

__all__ = ["DEFAULT_COUNT", "TimedImages", "timed_images"]

DEFAULT_COUNT: Final = 64
"""So many images take part when no number is asked for, or as many as there are."""

_PHANTOM_SIDE: Final = 224


@dataclass(frozen=True, slots=True, eq=False)
class TimedImages:
    """Image files.

    Attributes:
        paths: The files.
        labels: int64 [n], indices into `braintumor.models.labels.CLASSES`; None for phantoms.
        source: Where they come from, in words.
    """

    paths: tuple[Path, ...]
    labels: NDArray[np.int64] | None
    source: str


def timed_images(data: Path | None, count: int | None, work: Path) -> TimedImages:
    """Choose images, evenly over the classes.

    Args:
        data: As `read_labelled` takes it; None for phantoms.
        count: How many; None for `DEFAULT_COUNT`.
        work: An empty folder, for what is no file yet.

    Raises:
        UsageError: There are not so many, or a class has none.
        InputError: There is no such source.
    """
    if data is None:
        pixels = phantoms(count or DEFAULT_COUNT, _PHANTOM_SIDE, _PHANTOM_SIDE)
        paths = tuple(_written(work, index, image) for index, image in enumerate(pixels))
        return TimedImages(paths, None, "generated phantoms: no data was named")
    found = read_labelled(data)
    chosen = found.stratified(count or min(DEFAULT_COUNT, len(found)))
    paths = tuple(
        one.absolute() if isinstance(one, Path) else _written(work, index, one)
        for index, one in enumerate(chosen.pixels)
    )
    return TimedImages(paths, chosen.labels, str(data))


def _written(work: Path, index: int, pixels: NDArray[np.uint8]) -> Path:
    path = work / f"{index:05}.png"
    Image.fromarray(pixels).save(path)
    return path
