"""Sensitivity and specificity of models on collections that they were not made from."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.metrics.intervals import Share
from braintumor.errors import UsageError
from braintumor.models.labels import CLASSES, canonical_label
from braintumor.training.data.dataset import Dataset
from braintumor.training.data.predictions import Predictions
from braintumor.training.data.slices import read_slices, squared
from braintumor.training.data.targets import ANY_TUMOUR, HEALTHY
from braintumor.training.keras_io import crop_of, load_keras_file, predict_images
from braintumor.training.report.vote import Vote, soft_vote

__all__ = ["Collection", "ForeignFigures", "foreign_figures", "predict_collection", "read_collection"]


@dataclass(frozen=True, slots=True, eq=False)
class Collection:
    """A folder of images that no model here was made from.

    Attributes:
        name: Of the folder.
        data: Its images; labels are `HEALTHY` or `ANY_TUMOUR`.
        unreadable: Files that are not images, with the reason.
    """

    name: str
    data: Dataset
    unreadable: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ForeignFigures:
    """Figures of one model, or the vote, on a collection.

    Attributes:
        sensitivity: Slices with a tumour that are not called healthy; None where there is none.
        specificity: Healthy slices that are called healthy; None where there is none.
    """

    sensitivity: Share | None
    specificity: Share | None


def read_collection(folder: Path, *, tick: Callable[[], None] = lambda: None) -> Collection:
    """Read all images below a folder.

    Args:
        folder: Images in folders called healthy (or notumor, no, normal) are healthy; those in any other, or in none,
            have a tumour.
        tick: Called once a file.

    Raises:
        UsageError: No image can be read.
    """
    images, labels, names = [], [], []
    unreadable: list[str] = []
    for path, pixels in read_slices(folder, unreadable, tick):
        place = path.relative_to(folder)
        images.append(squared(pixels))
        names.append(place.as_posix())
        labels.append(HEALTHY if _is_healthy(place) else ANY_TUMOUR)
    if not images:
        raise UsageError(f"{folder} has no image that can be read", "name a folder of slices")
    data = Dataset(np.stack(images), np.array(labels, np.int64), tuple(names))
    return Collection(folder.resolve().name, data, tuple(unreadable))


def _is_healthy(path: Path) -> bool:
    return CLASSES[HEALTHY] in {canonical_label(part) for part in path.parts[:-1]}


def predict_collection(model: Path, collection: Collection) -> Predictions:
    """Predict a collection with a `.keras` file."""
    probabilities = predict_images(load_keras_file(model), collection.data, crop_of(model))
    return Predictions(collection.data.files, collection.data.labels, probabilities.astype(np.float64))


def foreign_figures(
    predictions: Mapping[str, Predictions], votes: Mapping[str, Vote]
) -> Iterator[tuple[str, ForeignFigures]]:
    """Evaluate models and votes on one collection.

    Args:
        predictions: By model.
        votes: By name; those with a member without predictions are left out.
    """
    for name, member in predictions.items():
        yield name, _figures(member)
    for name, vote in votes.items():
        if all(member in predictions for member in vote.members):
            yield name, _figures(soft_vote(predictions, vote))


def _figures(predictions: Predictions) -> ForeignFigures:
    healthy = predictions.probabilities.argmax(axis=1) == HEALTHY
    sick = predictions.labels != HEALTHY
    return ForeignFigures(sensitivity=_share(~healthy[sick]), specificity=_share(healthy[~sick]))


def _share(right: NDArray[np.bool_]) -> Share | None:
    return Share.of(int(right.sum()), len(right)) if len(right) else None
