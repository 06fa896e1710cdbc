"""The images that calibrate and validate a quantisation: real ones, and none that a later evaluation needs.

Calibration takes training images only. A range that was fitted to test images would make every figure on them
worthless, so the study's own validation and test images are refused by their names.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.data.labelled import LabelledImages, read_labelled
from braintumor.bench.data.study import find_study_image
from braintumor.errors import UsageError
from braintumor.models.labels import CLASSES

__all__ = ["DEFAULT_COUNT", "MAX_COUNT", "MIN_COUNT", "calibration_set", "validation_set"]

MIN_COUNT, DEFAULT_COUNT, MAX_COUNT = 300, 400, 500
"""Fewer leave the ranges to chance; more no longer move them."""

# Neighbouring pixels of an MRI slice correlate at 0.9 and more, those of noise not at all.
_MIN_CORRELATION: Final = 0.5


def calibration_set(source: Path, classes: Sequence[str] = CLASSES, count: int = DEFAULT_COUNT) -> LabelledImages:
    """Training images, evenly over the classes, drawn with a fixed seed.

    Args:
        source: A folder with one folder a class, or a file of `bt-data prepare`, whose training part is taken.
        classes: Their names, in the order of the labels.
        count: Number of images, `MIN_COUNT` to `MAX_COUNT`.

    Raises:
        UsageError: Too few images, a class without any, images of the study's validation or test part, or images
            of noise; or there is no such source.
        IntegrityError: The file is not a file of `bt-data prepare`, or a damaged one.
        InputError: An image cannot be read.
    """
    if not MIN_COUNT <= count <= MAX_COUNT:
        raise UsageError(f"calibration images must be {MIN_COUNT} to {MAX_COUNT}, got {count}")
    listed = read_labelled(source, "train", classes)
    _refuse_held_out(listed.names, source)
    images = listed.stratified(count)
    _refuse_noise(images, source)
    return images


def validation_set(source: Path, classes: Sequence[str] = CLASSES) -> LabelledImages:
    """All images of a folder with one folder a class, or the validation part of a file of `bt-data prepare`.

    Raises:
        UsageError: A class without an image, or there is no such source.
        IntegrityError: The file is not a file of `bt-data prepare`, or a damaged one.
        InputError: An image cannot be read.
    """
    return read_labelled(source, "val", classes)


def _refuse_held_out(names: Sequence[str], source: Path) -> None:
    known = ((name, find_study_image(name)) for name in names)
    held_out = [(name, image.split) for name, image in known if image is not None and image.split != "train"]
    if held_out:
        name, split = held_out[0]
        raise UsageError(
            f"{source} holds {len(held_out)} images of the study's validation or test part, such as {name} ({split})",
            "calibrate on training images only: figures on images that calibrated mean nothing",
        )


def _refuse_noise(images: LabelledImages, source: Path) -> None:
    bad = [name for index, name in enumerate(images.names) if _correlation(images.read(index)) < _MIN_CORRELATION]
    if bad:
        raise UsageError(
            f"{len(bad)} of {len(images)} images of {source}, such as {bad[0]}, are constant or noise",
            "calibrate on real training images",
        )


def _correlation(image: NDArray[np.uint8]) -> float:
    """Pearson's correlation of horizontally neighbouring pixels; 0 for an image of one grey level."""
    left, right = image[:, :-1].astype(np.float64).ravel(), image[:, 1:].astype(np.float64).ravel()
    spread = left.std() * right.std()
    return float(((left - left.mean()) * (right - right.mean())).mean() / spread) if spread > 0 else 0.0
