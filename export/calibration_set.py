"""The images that calibrate and judge a quantisation: real ones, and none that a later judgement needs.

Calibration takes training images only. A range that was fitted to test images would make every figure on them
worthless, so the study's own validation and test images are refused by their names.
"""

import csv
import gzip
import hashlib
import importlib.resources
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import InputError, UsageError
from braintumor.models.labels import CLASSES, canonical_label
from braintumor.runtime.image import SUFFIXES, Resize, read_grey, resize

__all__ = ["DEFAULT_COUNT", "MAX_COUNT", "MIN_COUNT", "ImageSet", "calibration_set", "validation_set"]

MIN_COUNT, DEFAULT_COUNT, MAX_COUNT = 300, 400, 500
"""Fewer leave the ranges to chance; more no longer move them."""

_SEED: Final = 1
# Neighbouring pixels of an MRI slice correlate at 0.9 and more, those of noise not at all.
_MIN_CORRELATION: Final = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class ImageSet:
    """Labelled images, each in its own size.

    Attributes:
        images: uint8 [height, width] each, grey levels.
        labels: int64 [n], indices into the classes that were asked for.
        names: Of the files.
        sha256: Over all pixels and labels.
    """

    images: tuple[NDArray[np.uint8], ...]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    sha256: str

    def sized(self, height: int, width: int, method: Resize) -> NDArray[np.uint8]:
        """uint8 [n, height, width]: the images as a member wants them."""
        return np.stack([resize(image, height, width, method) for image in self.images])

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)


def calibration_set(source: Path, classes: Sequence[str] = CLASSES, count: int = DEFAULT_COUNT) -> ImageSet:
    """Training images, evenly over the classes, chosen by a fixed seed.

    Args:
        source: A folder with one folder a class, or a file of `bt-data prepare`, whose training part is taken.
        classes: Their names, in the order of the labels.
        count: How many, `MIN_COUNT` to `MAX_COUNT`.

    Raises:
        UsageError: Too few images, a class without any, images of the study's validation or test part, or images
            that are no photographs of anything.
        InputError: The source or one of its images cannot be read.
    """
    if not MIN_COUNT <= count <= MAX_COUNT:
        raise UsageError(f"{count} calibration images were asked for; allowed are {MIN_COUNT} to {MAX_COUNT}")
    listed = _listed(source, "train", classes)
    _refuse_held_out([item.name for item in listed], source)
    found = _read(_stratified(listed, count, classes, source))
    _refuse_noise(found, source)
    return found


def validation_set(source: Path, classes: Sequence[str] = CLASSES) -> ImageSet:
    """All images of a folder with one folder a class, or the validation part of a file of `bt-data prepare`.

    Raises:
        UsageError: A class without an image.
        InputError: The source or one of its images cannot be read.
    """
    listed = _listed(source, "val", classes)
    _stratified(listed, len(classes), classes, source)
    return _read(listed)


@dataclass(frozen=True, slots=True, eq=False)
class _Item:
    name: str
    label: int
    pixels: Path | NDArray[np.uint8]


def _listed(source: Path, split: str, classes: Sequence[str]) -> list[_Item]:
    if source.is_file():
        return _of_archive(source, split, classes)
    if not source.is_dir():
        raise InputError(
            f"{source} is not there; name a folder with one folder a class, or a file that bt-data prepare wrote"
        )
    items = []
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        name = canonical_label(folder.name)
        if name not in classes:
            raise UsageError(f"{folder} is named after no class; allowed are {', '.join(classes)}")
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        items += [_Item(path.name, classes.index(name), path) for path in files]
    return items


def _of_archive(source: Path, split: str, classes: Sequence[str]) -> list[_Item]:
    if set(classes) != set(CLASSES):
        raise UsageError(f"{source} holds {', '.join(CLASSES)}, but the bundle knows {', '.join(classes)}")
    try:
        with source.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            images, labels, splits, files = (stored[name] for name in ("images", "labels", "splits", "files"))
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(
            f"{source} is no file of bt-data prepare ({error}); make one: bt-data prepare FOLDER"
        ) from error
    return [
        _Item(str(files[at]), classes.index(CLASSES[labels[at]]), images[at])
        for at in np.flatnonzero(splits == split)
    ]


def _refuse_held_out(names: Sequence[str], source: Path) -> None:
    packed = (importlib.resources.files("braintumor.training") / "manifest.csv.gz").read_bytes()
    rows = csv.DictReader(io.StringIO(gzip.decompress(packed).decode("utf-8")))
    held_out = {row["file"]: row["split"] for row in rows if row["split"] != "train"}
    if found := [name for name in names if name in held_out]:
        raise UsageError(
            f"{source} holds {len(found)} images of the study's validation or test part, such as {found[0]} "
            f"({held_out[found[0]]}); calibrate on training images only, or every later figure is worth nothing"
        )


def _stratified(items: Sequence[_Item], count: int, classes: Sequence[str], source: Path) -> list[_Item]:
    by_class: Mapping[int, list[_Item]] = {label: [] for label in range(len(classes))}
    for item in items:
        by_class[item.label].append(item)
    if empty := [classes[label] for label, found in by_class.items() if not found]:
        raise UsageError(f"{source} has no image of {', '.join(empty)}; every class is needed")
    if len(items) < count:
        raise UsageError(f"{source} holds {len(items)} images; {count} are needed, spread over the classes")
    rng = np.random.default_rng(_SEED)
    shuffled = {label: [found[at] for at in rng.permutation(len(found))] for label, found in by_class.items()}
    taken: list[_Item] = []
    rank = 0
    while len(taken) < count:
        taken += [found[rank] for found in shuffled.values() if rank < len(found)]
        rank += 1
    return taken[:count]


def _read(items: Sequence[_Item]) -> ImageSet:
    images = [item.pixels if isinstance(item.pixels, np.ndarray) else read_grey(item.pixels).pixels for item in items]
    labels = np.array([item.label for item in items], np.int64)
    digest = hashlib.sha256(labels.tobytes())
    for image in images:
        digest.update(np.ascontiguousarray(image).tobytes())
    return ImageSet(tuple(images), labels, tuple(item.name for item in items), digest.hexdigest())


def _refuse_noise(found: ImageSet, source: Path) -> None:
    bad = [
        name for name, image in zip(found.names, found.images, strict=True) if _correlation(image) < _MIN_CORRELATION
    ]
    if bad:
        kinds = Counter(Path(name).suffix for name in bad)
        raise UsageError(
            f"{len(bad)} images of {source}, such as {bad[0]}, are constant or noise ({dict(kinds)}); ranges "
            "measured on them are worth nothing: calibrate on real training images"
        )


def _correlation(image: NDArray[np.uint8]) -> float:
    """Pearson's correlation of horizontally neighbouring pixels; 0 for an image of one grey level."""
    left, right = image[:, :-1].astype(np.float64).ravel(), image[:, 1:].astype(np.float64).ravel()
    spread = left.std() * right.std()
    return float(((left - left.mean()) * (right - right.mean())).mean() / spread) if spread > 0 else 0.0
