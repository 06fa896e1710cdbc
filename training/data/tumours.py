"""Slices with a tumour of unknown type, from any collection: read, and split with near-duplicates kept together."""

import csv
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.data.manifest import TUMOUR_SPLITS, Split
from braintumor.errors import UsageError
from braintumor.training.data.dataset import Dataset
from braintumor.training.data.hashing import distances, phash
from braintumor.training.data.prepare import PREPARED_SIZE
from braintumor.training.data.slices import read_slices, squared
from braintumor.training.data.targets import ANY_TUMOUR

__all__ = ["Tumours", "read_parts", "read_tumours"]

_NEAR_BITS: Final = 8
"""Differing bits of the perceptual hash up to which two slices stay in one part."""

_DEV_SHARE: Final = 0.3

_PARTS: Final[Mapping[str, Split]] = {"train": "tumour-train", "dev": "tumour-dev"}


@dataclass(frozen=True, slots=True, eq=False)
class Tumours:
    """Slices of a folder.

    Attributes:
        parts: The images to learn from and to choose by.
        unreadable: Files that are not images, with the reason.
    """

    parts: dict[Split, Dataset]
    unreadable: tuple[str, ...]


def read_parts(path: Path) -> dict[str, Split]:
    """Read which file belongs to which part: CSV with the columns file and part (train or dev).

    Raises:
        UsageError: It cannot be read, or is something else.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return {row["file"]: _PARTS[row["part"]] for row in csv.DictReader(stream)}
    except (OSError, UnicodeDecodeError, KeyError, csv.Error) as error:
        raise UsageError(
            f"{path} does not say which file is train and which is dev ({type(error).__name__}: {error}); must be "
            "CSV with the columns file,part",
            "correct it, or leave `tumour_parts` out for a split of our own",
        ) from error


def read_tumours(
    folder: Path, listed: Mapping[str, Split] | None = None, *, tick: Callable[[], None] = lambda: None
) -> Tumours:
    """Read all images below a folder as slices with a tumour of unknown type.

    Args:
        folder: Images at any depth.
        listed: Which file belongs to which part; None for a split by perceptual hash, in which near-duplicates stay
            together and three in ten of the groups are for choosing.
        tick: Called once a file.

    Raises:
        UsageError: No image, a name that `listed` lacks, or a part without images.
    """
    unreadable: list[str] = []
    images = {path.name: squared(pixels) for path, pixels in read_slices(folder, unreadable, tick)}
    if not images:
        raise UsageError(f"{folder} has no image that can be read", "name a folder of slices with a tumour")
    parts = dict(listed) if listed is not None else _split(images)
    if unlisted := [name for name in images if name not in parts]:
        raise UsageError(f"{len(unlisted)} images, {unlisted[0]} first, are in no part", "leave `tumour_parts` out")
    datasets = {split: _dataset(images, parts, split) for split in TUMOUR_SPLITS}
    if empty := [split for split, data in datasets.items() if not len(data)]:
        raise UsageError(f"{folder}: no image for {', '.join(empty)} among {len(images)}", "give more slices")
    return Tumours(datasets, tuple(unreadable))


def _dataset(images: Mapping[str, NDArray[np.uint8]], parts: Mapping[str, Split], split: Split) -> Dataset:
    names = tuple(name for name in images if parts[name] == split)
    pixels = [images[name] for name in names]
    stacked = np.stack(pixels) if pixels else np.zeros((0, PREPARED_SIZE, PREPARED_SIZE), np.uint8)
    return Dataset(stacked, np.full(len(names), ANY_TUMOUR, np.int64), names)


def _split(images: Mapping[str, NDArray[np.uint8]]) -> dict[str, Split]:
    """Parts by groups of near-duplicates; the hash of a group's first picture draws the part."""
    names = list(images)
    hashes = np.array([phash(images[name]) for name in names], np.uint64)
    near = distances(hashes, hashes) <= _NEAR_BITS
    group = np.arange(len(names))
    for number in range(len(names)):  # single linkage: whatever touches a group becomes part of it
        touched = np.isin(group, group[near[number]])
        group[touched] = group[touched].min()
    drawn: dict[int, Split] = {}
    for first in np.unique(group):
        digest = hashlib.sha256(images[names[first]].tobytes()).digest()
        drawn[int(first)] = "tumour-dev" if digest[0] < _DEV_SHARE * 256 else "tumour-train"
    return {name: drawn[int(number)] for name, number in zip(names, group, strict=True)}
