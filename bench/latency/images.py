"""The images that a latency is measured on: files, since decoding them is a part of every answer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from braintumor.bench.data.labelled import read_labelled
from braintumor.bench.data.phantoms import phantoms
from braintumor.bench.latency.result import TimedSummary
from braintumor.models.labels import CLASSES

__all__ = ["DEFAULT_COUNT", "TimedImages", "timed_images"]

DEFAULT_COUNT: Final = 64
"""So many images take part when no number is asked for, or as many as there are."""

_PHANTOM_SIDE: Final = 224


@dataclass(frozen=True, slots=True, eq=False)
class TimedImages:
    """Image files.

    Attributes:
        paths: The files, evenly over the classes from the first to the last.
        labels: int64 [n], indices into the classes; None for phantoms.
        source: Where they come from, in words.
        timed: The times are those of the first so many; decisions are taken on all.
        unwritten: Files that are made when the decisions are asked for, if they are.
    """

    paths: tuple[Path, ...]
    labels: NDArray[np.int64] | None
    source: str
    timed: int
    unwritten: Mapping[Path, NDArray[np.uint8]] = field(default_factory=dict)

    @property
    def summary(self) -> TimedSummary:
        """What a reader needs to know of them."""
        return TimedSummary(self.source, self.timed, len(self.paths), self.labels is not None)

    def complete(self) -> None:
        """Make the files that are not there yet."""
        for path, pixels in self.unwritten.items():
            if not path.exists():
                _write(path, pixels)


def timed_images(
    data: Path | None,
    count: int | None,
    work: Path,
    *,
    all_decided: bool = False,
    classes: Sequence[str] = CLASSES,
) -> TimedImages:
    """Choose images, evenly over the classes.

    Args:
        data: As `read_labelled` takes it; None for phantoms.
        count: How many are timed; None for `DEFAULT_COUNT`.
        work: An empty folder, for what is no file yet.
        all_decided: Take all images that there are, for the decisions.
        classes: Their names, in the order of the labels.

    Raises:
        UsageError: There is no such source, there are not so many, or a class has none.
        IntegrityError: A damaged file of `bt-data prepare`.
    """
    if data is None:
        pixels = phantoms(count or DEFAULT_COUNT, _PHANTOM_SIDE, _PHANTOM_SIDE)
        return _on_disk(pixels, work, "generated phantoms: no data was named", None, len(pixels))
    found = read_labelled(data, classes=classes)
    timed = len(found.stratified_order(count or min(DEFAULT_COUNT, len(found))))
    chosen = found.stratified(len(found) if all_decided else timed)
    return _on_disk(chosen.pixels, work, str(data), chosen.labels, timed)


def _on_disk(
    images: Iterable[Path | NDArray[np.uint8]],
    work: Path,
    source: str,
    labels: NDArray[np.int64] | None,
    timed: int,
) -> TimedImages:
    """Files as they are; of grey levels those that are timed are written now."""
    paths, unwritten = [], {}
    for index, one in enumerate(images):
        paths.append(one.absolute() if isinstance(one, Path) else work / f"{index:05}.png")
        if not isinstance(one, Path) and index < timed:
            _write(paths[-1], one)
        elif not isinstance(one, Path):
            unwritten[paths[-1]] = one
    return TimedImages(tuple(paths), labels, source, timed, unwritten)


def _write(path: Path, pixels: NDArray[np.uint8]) -> None:
    Image.fromarray(pixels).save(path)
