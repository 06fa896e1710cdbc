"""The data set in memory, and its file: one `.npz` with the images as uint8."""

import contextlib
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from braintumor.bench.data.manifest import SPLITS, TUMOUR_SPLITS, Split
from braintumor.errors import IntegrityError, OutputError, UsageError
from braintumor.models.labels import CLASSES
from braintumor.runtime.image.geometry import Geometry, apply_geometry
from braintumor.runtime.image.head import Crop
from braintumor.training.data.targets import ANY_TUMOUR

__all__ = ["Dataset", "load_dataset", "save_dataset"]

_ARRAYS = ("images", "labels", "splits", "files")
_PREPARE = "run: bt-data prepare FOLDER"


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Images with their labels, in a fixed order.

    Attributes:
        images: uint8 [n, height, width], grey levels.
        labels: int64 [n], indices into `CLASSES`, or `ANY_TUMOUR`.
        files: File names without folders, one an image.
    """

    images: np.ndarray
    labels: np.ndarray
    files: tuple[str, ...]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def resized(self, size: int, crop: Crop = "none") -> "Dataset":
        """Crop and resize to size x size pixels, as the runtime does."""
        if crop == "none" and self.images.shape[1:] == (size, size):
            return self
        images = [apply_geometry(image, Geometry(size, size, crop=crop)) for image in self.images]
        return Dataset(np.stack(images) if images else self.images, self.labels, self.files)

    def joined(self, other: "Dataset | None") -> "Dataset":
        """Append another data set."""
        if other is None:
            return self
        images, labels = np.concatenate([self.images, other.images]), np.concatenate([self.labels, other.labels])
        return Dataset(images, labels, self.files + other.files)

    def where(self, accepts: Callable[[str], bool]) -> "Dataset":
        """Select the images whose file name is accepted."""
        index = [number for number, name in enumerate(self.files) if accepts(name)]
        return Dataset(self.images[index], self.labels[index], tuple(self.files[number] for number in index))


def save_dataset(path: Path, parts: dict[Split, Dataset]) -> None:
    """Write the parts to one `.npz`, whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    arrays = {
        "images": np.concatenate([data.images for data in parts.values()]),
        "labels": np.concatenate([data.labels for data in parts.values()]).astype(np.int64),
        "splits": np.array([split for split, data in parts.items() for _ in data.files]),
        "files": np.array([name for data in parts.values() for name in data.files]),
    }
    temporary = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, path)  # noqa: PTH105 - the one rename that replaces on Windows too
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {error}", "choose another `out`") from error


def load_dataset(path: Path) -> dict[Split, Dataset]:
    """Read what `save_dataset` wrote.

    Raises:
        UsageError: There is no such file.
        IntegrityError: It is something else, or damaged.
    """
    if not path.is_file():
        raise UsageError(f"{path} is not there", "make it from a copy of the data set: bt-data prepare FOLDER")
    if not zipfile.is_zipfile(path):
        raise IntegrityError(f"{path} is not an .npz archive, or only a part of one", _PREPARE)
    try:
        # Opened here: NumPy leaves the file open when it is not an archive.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            images, labels, splits, files = (stored[name] for name in _ARRAYS)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise IntegrityError(f"{path} is not a prepared data set ({error})", _PREPARE) from error
    _check(path, images, labels, splits, files)
    parts: dict[Split, Dataset] = {}
    for split in (*SPLITS, *TUMOUR_SPLITS):
        mask = splits == split
        if split in SPLITS or mask.any():
            parts[split] = Dataset(images[mask], labels[mask], tuple(str(name) for name in files[mask]))
    return parts


def _check(path: Path, images: np.ndarray, labels: np.ndarray, splits: np.ndarray, files: np.ndarray) -> None:
    count = len(images)
    expected = f"must be uint8 images [n, height, width] and {count} labels, splits and files"
    if images.ndim != 3 or images.dtype != np.uint8 or not len(labels) == len(splits) == len(files) == count:  # noqa: PLR2004
        raise IntegrityError(f"{path} holds {images.dtype} {images.shape}; {expected}", _PREPARE)
    for split in SPLITS:
        numbers = set(labels[splits == split].tolist())
        missing = [name for number, name in enumerate(CLASSES) if number not in numbers]
        if missing or numbers - set(range(len(CLASSES))):
            raise IntegrityError(f"{path} has no {split} image of {', '.join(missing)}", _PREPARE)
    for split in TUMOUR_SPLITS:
        if set(labels[splits == split].tolist()) - {ANY_TUMOUR}:
            raise IntegrityError(f"{path} has labels in {split}, whose types are unknown", _PREPARE)
