"""Images that are timed: files, since decoding is a part of every call."""

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
from braintumor.runtime.image.folder import NoteCallback

__all__ = ["DEFAULT_COUNT", "TimedImages", "timed_images"]

DEFAULT_COUNT: Final = 64
"""Number of images that are timed by default, or all if there are fewer."""

_PHANTOM_SIDE: Final = 224


@dataclass(frozen=True, slots=True, eq=False)
class TimedImages:
    """Image files.

    Attributes:
        paths: The files, evenly over the classes from the first to the last.
        labels: int64 [n], indices into the classes; None for phantoms.
        source: Where they come from, in words.
        timed: Number of images, from the first, that are timed; labels are compared on all.
        unwritten: Files that are written only when labels are compared → their pixels.
    """

    paths: tuple[Path, ...]
    labels: NDArray[np.int64] | None
    source: str
    timed: int
    unwritten: Mapping[Path, NDArray[np.uint8]] = field(default_factory=dict)

    @property
    def summary(self) -> TimedSummary:
        """Number and source of the images, for the result."""
        return TimedSummary(self.source, self.timed, len(self.paths), self.labels is not None)

    def complete(self) -> None:
        """Write the files that are missing."""
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
    note: NoteCallback | None = None,
) -> TimedImages:
    """Choose images, evenly over the classes.

    Args:
        data: As `read_labelled` takes it; None for phantoms.
        count: Number of images that are timed; None for `DEFAULT_COUNT`.
        work: An empty folder, for images that are not files yet.
        all_decided: Take all images, so that labels are compared on all.
        classes: Their names, in the order of the labels.
        note: Called when hidden files are left out.

    Raises:
        UsageError: There is no such source, there are too few images, or a class has none.
        IntegrityError: A damaged file of `bt-data prepare`.
    """
    if data is None:
        pixels = phantoms(count or DEFAULT_COUNT, _PHANTOM_SIDE, _PHANTOM_SIDE)
        return _on_disk(pixels, work, "generated phantoms: no data was named", None, len(pixels))
    labelled = read_labelled(data, classes=classes, note=note)
    timed = len(labelled.stratified_order(count or min(DEFAULT_COUNT, len(labelled))))
    selected = labelled.stratified(len(labelled) if all_decided else timed)
    return _on_disk(selected.pixels, work, str(data), selected.labels, timed)


def _on_disk(
    images: Iterable[Path | NDArray[np.uint8]],
    work: Path,
    source: str,
    labels: NDArray[np.int64] | None,
    timed: int,
) -> TimedImages:
    """Take files as they are; write grey levels to files, those that are timed at once."""
    paths, unwritten = [], {}
    for index, image in enumerate(images):
        paths.append(image.absolute() if isinstance(image, Path) else work / f"{index:05}.png")
        if not isinstance(image, Path) and index < timed:
            _write(paths[-1], image)
        elif not isinstance(image, Path):
            unwritten[paths[-1]] = image
    return TimedImages(tuple(paths), labels, source, timed, unwritten)


def _write(path: Path, pixels: NDArray[np.uint8]) -> None:
    Image.fromarray(pixels).save(path)
