"""Images of the study: the split of each, and whether training has seen a near-duplicate of it."""

import csv
import functools
import gzip
import importlib.resources
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from types import MappingProxyType
from typing import Final

import numpy as np

__all__ = ["NEAR_BITS", "StudyImage", "find_study_image", "near_duplicate_free", "study_images"]

NEAR_BITS: Final = 4
"""Images whose perceptual hashes differ in at most this many bits count as near-duplicates."""


@dataclass(frozen=True, slots=True)
class StudyImage:
    """One of the 7,023 images of the study.

    Attributes:
        file: Its name, without folders.
        label: One of `CLASSES`.
        split: "train", "val" or "test".
        phash: 64-bit perceptual hash (`imagehash.phash`) of the 224 x 224 grey image.
    """

    file: str
    label: str
    split: str
    phash: int


@functools.cache
def study_images() -> Mapping[str, StudyImage]:
    """File name without extension, in lower case → image: copies of the data set differ in both."""
    packed = (importlib.resources.files("braintumor.bench.data") / "manifest.csv.gz").read_bytes()
    rows = csv.DictReader(io.StringIO(gzip.decompress(packed).decode("utf-8")))
    images = (StudyImage(row["file"], row["label"], row["split"], int(row["phash"], 16)) for row in rows)
    return MappingProxyType({_key(image.file): image for image in images})


def find_study_image(name: str) -> StudyImage | None:
    """The image of the study with that file name; None for any other."""
    return study_images().get(_key(name))


@functools.cache
def near_duplicate_free() -> frozenset[str]:
    """`StudyImage.file` of the test images with no neighbour within `NEAR_BITS` in train or val."""
    test = [image for image in study_images().values() if image.split == "test"]
    others = np.array([image.phash for image in study_images().values() if image.split != "test"], np.uint64)
    hashes = np.array([image.phash for image in test], np.uint64)
    nearest = np.bitwise_count(hashes[:, None] ^ others[None, :]).min(axis=1)
    return frozenset(image.file for image, bits in zip(test, nearest.tolist(), strict=True) if bits > NEAR_BITS)


def _key(name: str) -> str:
    return PurePath(name).stem.lower()
