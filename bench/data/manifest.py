"""The manifest of the data set: its split into 5,618 / 702 / 703 images, fixed by file name."""

import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from braintumor.errors import IntegrityError, UsageError
from braintumor.models.labels import CLASSES

__all__ = [
    "EVALUATION_SPLITS",
    "SPLITS",
    "TEST_SUPPORTS",
    "TUMOUR_SPLITS",
    "ManifestRow",
    "Split",
    "check_manifest",
    "read_manifest",
]

Split = Literal["train", "val", "test", "tumour-train", "tumour-dev"]

SPLITS: tuple[Split, ...] = ("train", "val", "test")
"""The splits of the data set, whose classes are known."""

TUMOUR_SPLITS: tuple[Split, ...] = ("tumour-train", "tumour-dev")
"""Slices of other collections with a tumour of unknown type: for training, and for choosing models."""

EVALUATION_SPLITS: tuple[Split, ...] = ("val", "test", "tumour-dev")
"""The splits that a model is evaluated on, and never trained on."""

TEST_SUPPORTS = {"glioma": 158, "healthy": 199, "meningioma": 183, "pituitary": 163}
"""Class → images in the test split, as in the study's classification report."""

_OWN_MANIFEST = Path(__file__).with_name("manifest.csv.gz")


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One image of the data set.

    Attributes:
        file: File name without folders, as in the Kaggle data set; unique.
        label: One of `CLASSES`.
        split: The split that it belongs to.
        phash: 64-bit perceptual hash (`imagehash.phash`) of the 224 x 224 grey image.
    """

    file: str
    label: str
    split: Split
    phash: int


def read_manifest(path: Path | None = None) -> tuple[ManifestRow, ...]:
    """Read a manifest: CSV, or gzipped CSV, with the columns file, label, split, phash.

    Args:
        path: The file; None for the package's own manifest of 7,023 images.

    Raises:
        UsageError: It is not there, or cannot be read.
        IntegrityError: It is not a manifest.
    """
    source = path or _OWN_MANIFEST
    try:
        data = source.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{source} cannot be read ({error.strerror})",
            "name a CSV with the columns file,label,split,phash, or leave `manifest` out for the package's own",
        ) from error
    try:
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8")
        rows = tuple(_row(values) for values in csv.DictReader(io.StringIO(text)))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise IntegrityError(
            f"{source} is not a manifest ({type(error).__name__}: {error}); must be CSV with the columns "
            "file,label,split,phash",
            "correct it, or leave `manifest` out for the package's own",
        ) from error
    check_manifest(rows, source)
    return rows


def _row(values: dict[str, str]) -> ManifestRow:
    split, label = values["split"], values["label"]
    if split not in SPLITS or label not in CLASSES:
        raise ValueError(f"{values['file']} has split {split!r} and label {label!r}")
    return ManifestRow(values["file"], label, split, int(values["phash"], 16))


def check_manifest(rows: Sequence[ManifestRow], source: Path) -> None:
    """Check that names are unique and that each split has each class.

    Raises:
        IntegrityError: A name is listed twice, or a split lacks a class.
    """
    names = Counter(row.file for row in rows)
    repeated = [name for name, count in names.items() if count > 1]
    if repeated:
        raise IntegrityError(f"{source} lists {len(repeated)} files twice, the first is {repeated[0]}")
    counts = Counter((row.split, row.label) for row in rows)
    missing = [f"{split}/{label}" for split in SPLITS for label in CLASSES if not counts[split, label]]
    if missing:
        raise IntegrityError(f"{source} has no image for {', '.join(missing)}")
