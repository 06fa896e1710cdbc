"""Labelled images, for accuracy and for the calibration of int8.

They come from a folder with one folder a class, or from a file of `bt-data prepare`. The images of a folder are
decoded when they are read, so that memory does not grow with their number; of a prepared file, whose images are
small, one split is held in memory.
"""

import hashlib
import os
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from braintumor.errors import IntegrityError, UsageError
from braintumor.models.labels import CLASSES, canonical_label
from braintumor.runtime.image.batching import prepared_groups
from braintumor.runtime.image.decode import read_grey
from braintumor.runtime.image.folder import NoteCallback, list_images
from braintumor.runtime.image.geometry import Geometry, apply_geometry

__all__ = ["DATA_VARIABLE", "LabelledImages", "read_labelled"]

DATA_VARIABLE: Final = "BRAINTUMOR_DATA"
"""The environment variable that names the images by default."""

_SEED: Final = 1
_MAX_DECODE_THREADS: Final = 8
_REMEDY: Final = "name a folder with one folder a class, or a file that bt-data prepare wrote"
_ARRAYS: Final = ("images", "labels", "splits", "files")


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImages:
    """Images and their labels, each image in its own size.

    Attributes:
        source: The folder or file that they come from.
        classes: Names of the classes, in the order of the labels.
        labels: int64 [n], indices into `classes`.
        names: Names of the files, without folders.
        pixels: Of each image its file, or its grey levels, uint8 [height, width].
        change: Is applied to each image when it is read; None for nothing.
    """

    source: Path
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    pixels: tuple[Path | NDArray[np.uint8], ...]
    change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None

    def __len__(self) -> int:
        """Number of images."""
        return len(self.names)

    def read(self, index: int) -> NDArray[np.uint8]:
        """One image's grey levels, uint8 [height, width].

        Raises:
            InputError: Its file cannot be read.
        """
        image = self.pixels[index]
        grey = read_grey(image).pixels if isinstance(image, Path) else image
        return grey if self.change is None else self.change(grey)

    def resized(self, geometry: Geometry) -> NDArray[np.uint8]:
        """uint8 [n, height, width]: all images, cropped and resized for a member.

        Raises:
            InputError: A file cannot be read.
        """
        return np.stack([apply_geometry(self.read(index), geometry) for index in range(len(self))])

    def batches(
        self, geometries: Collection[Geometry], batch_size: int
    ) -> Iterator[Mapping[Geometry, NDArray[np.uint8]]]:
        """All images in order, in batches, in every geometry; the next batch is decoded while one is used.

        Args:
            geometries: Crop, size and resize method of each member.
            batch_size: Images in a batch, at least 1; the last batch may be smaller.

        Raises:
            InputError: A file cannot be read.
        """

        def prepare(index: int) -> dict[Geometry, NDArray[np.uint8]]:
            grey = self.read(index)
            return {geometry: apply_geometry(grey, geometry) for geometry in geometries}

        threads = min(_MAX_DECODE_THREADS, os.cpu_count() or 1)
        for group in prepared_groups(range(len(self)), prepare, group_size=batch_size, threads=threads):
            yield {geometry: np.stack([image[geometry] for image in group]) for geometry in geometries}

    def only(self, indices: Sequence[int]) -> "LabelledImages":
        """The images at these indices, in this order."""
        return replace(
            self,
            labels=self.labels[list(indices)],
            names=tuple(self.names[index] for index in indices),
            pixels=tuple(self.pixels[index] for index in indices),
        )

    def stratified(self, count: int) -> "LabelledImages":
        """A sample, evenly over the classes as far as they have images, drawn with a fixed seed.

        Raises:
            UsageError: There are fewer images.
        """
        return self.only(self.stratified_order(count))

    def stratified_order(self, count: int) -> list[int]:
        """Indices of the images that `stratified` takes; a smaller count takes the first of them.

        Raises:
            UsageError: There are fewer images.
        """
        if len(self) < count:
            raise UsageError(
                f"{self.source} holds {len(self)} images; {count} are needed, spread over the classes",
                "choose a smaller number, or name more images",
            )
        rng = np.random.default_rng(_SEED)
        by_class = [np.flatnonzero(self.labels == label) for label in range(len(self.classes))]
        shuffled = [indices[rng.permutation(len(indices))].tolist() for indices in by_class]
        ranks = range(max(map(len, shuffled), default=0))
        order = [indices[rank] for rank in ranks for indices in shuffled if rank < len(indices)]
        return order[:count]

    @property
    def sha256(self) -> str:
        """SHA-256 over all labels and grey levels; reads every image."""
        digest = hashlib.sha256(self.labels.tobytes())
        for index in range(len(self)):
            digest.update(np.ascontiguousarray(self.read(index)).tobytes())
        return digest.hexdigest()


def read_labelled(
    source: Path, split: str = "test", classes: Sequence[str] = CLASSES, note: NoteCallback | None = None
) -> LabelledImages:
    """List the images of a source; a folder's are not read yet.

    Args:
        source: A folder with one folder a class (names such as "notumor" are understood), searched recursively; or
            a file of `bt-data prepare`.
        split: The part of such a file: "train", "val" or "test". Of a folder all images are taken.
        classes: Their names, in the order of the labels.
        note: Called when hidden files are left out.

    Raises:
        UsageError: There is no such source, a folder is not named after a class, or a class has no image.
        IntegrityError: The file was not written by `bt-data prepare`, or is damaged.
    """
    if source.is_file():
        images = _read_archive(source, split, classes)
    elif source.is_dir():
        images = _list_folder(source, classes, note)
    else:
        raise UsageError(f"{source} is not there", _REMEDY)
    present = set(images.labels.tolist())
    if empty := [name for label, name in enumerate(classes) if label not in present]:
        part = f" in its {split} part" if source.is_file() else ""
        raise UsageError(f"{source} has no image of {', '.join(empty)}{part}; every class must have one")
    return images


def _list_folder(source: Path, classes: Sequence[str], note: NoteCallback | None) -> LabelledImages:
    by_folder: dict[str, list[Path]] = {}
    for path in list_images(source, note):
        first, *rest = path.relative_to(source).parts
        if rest:  # an image beside the folders of classes belongs to none
            by_folder.setdefault(first, []).append(path)
    unknown = [folder for folder in by_folder if canonical_label(folder) not in classes]
    files = [
        (list(classes).index(canonical_label(folder)), path)
        for folder, paths in sorted(by_folder.items())
        if folder not in unknown
        for path in paths
    ]
    # By class and not by the names of the folders, which differ between copies of the data set.
    files.sort(key=lambda file: file[0])
    if unknown:
        raise UsageError(
            f"{source} has images in {', '.join(unknown)}, named after no class; must be of {', '.join(classes)}",
            "name a folder that holds only these, or move the others out",
        )
    return LabelledImages(
        source,
        tuple(classes),
        np.array([label for label, _ in files], np.int64),
        tuple(path.name for _, path in files),
        tuple(path for _, path in files),
    )


def _read_archive(source: Path, split: str, classes: Sequence[str]) -> LabelledImages:
    if set(classes) != set(CLASSES):
        raise UsageError(
            f"{source} holds {', '.join(CLASSES)}, but the classes of the bundle are {', '.join(classes)}",
            "name a folder with one folder a class",
        )
    try:
        # Opened here: NumPy leaves the file open when it is not an archive.
        with source.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            labels, splits, files = (stored[name] for name in _ARRAYS[1:])
            in_split = splits == split
            order = [list(classes).index(name) for name in CLASSES]
            split_labels = np.array([order[label] for label in labels[in_split]], np.int64)
            names = tuple(str(name) for name in files[in_split])
            with stored.zip.open("images.npy") as packed:
                images = _read_rows(packed, in_split)
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise IntegrityError(
            f"{source} is not a file of bt-data prepare: {error}", "write one with: bt-data prepare FOLDER"
        ) from error
    return LabelledImages(source, tuple(classes), split_labels, names, images)


def _read_rows(stream: IO[bytes], in_split: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], ...]:
    """The images of a stored array that are in the split, without the others in memory."""
    if npy.read_magic(stream) != (1, 0):
        raise ValueError("an array of another NumPy format")
    shape, fortran, dtype = npy.read_array_header_1_0(stream)
    if fortran or dtype != np.uint8 or len(shape) != 3 or shape[0] != len(in_split):  # noqa: PLR2004 - [n, height, width]
        raise ValueError(f"{dtype} images {list(shape)} and {len(in_split)} labels")
    _, height, width = shape
    rows = []
    for is_in_split in in_split:
        data = stream.read(height * width)
        if len(data) != height * width:
            raise EOFError("the images are cut off")
        if is_in_split:
            rows.append(np.frombuffer(data, np.uint8).reshape(height, width))
    return tuple(rows)
