"""Probabilities that a model gave to validation and test images, as a file and in memory."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.data.manifest import Split
from braintumor.errors import InputError, IntegrityError
from braintumor.models.labels import CLASSES
from braintumor.training.data.dataset import Dataset
from braintumor.training.data.targets import ANY_TUMOUR

__all__ = ["Predictions", "check_same_images", "predictions_csv", "read_predictions"]

_COLUMNS = ["split", "file", "label", *CLASSES]
_TUMOUR = "tumour"
"""The label of a tumour of unknown type."""
_RUN_AGAIN = "run bt-train again"


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """One model's predictions for the images of a split.

    Attributes:
        files: File names, one an image.
        labels: int64 [n], the truth, or `ANY_TUMOUR`.
        probabilities: float64 [n, 4]; rows sum to 1.
    """

    files: tuple[str, ...]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.files)

    def only(self, names: frozenset[str]) -> "Predictions":
        """Select the predictions for these files."""
        index = [number for number, name in enumerate(self.files) if name in names]
        return Predictions(
            tuple(self.files[number] for number in index), self.labels[index], self.probabilities[index]
        )

    def with_probabilities(self, probabilities: NDArray[np.float64]) -> "Predictions":
        """Replace the predictions for the same images."""
        return Predictions(self.files, self.labels, probabilities)


def predictions_csv(parts: Mapping[Split, Dataset], probabilities: Mapping[Split, NDArray[np.float32]]) -> str:
    """Write one line an image: split, file, label and the four probabilities."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for split, values in probabilities.items():
        data = parts[split]
        for name, label, row in zip(data.files, data.labels, values, strict=True):
            writer.writerow([split, name, _label(label), *(f"{value:.7g}" for value in row)])
    return stream.getvalue()


def _label(number: int) -> str:
    return _TUMOUR if number == ANY_TUMOUR else CLASSES[number]


def _number(label: str) -> int:
    return ANY_TUMOUR if label == _TUMOUR else CLASSES.index(label)


def read_predictions(path: Path) -> dict[str, Predictions]:
    """Read `predictions.csv` by split.

    Raises:
        InputError: There is no such file.
        IntegrityError: It is something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error})", "finish the run first: bt-train MODEL") from error
    rows = list(csv.reader(io.StringIO(text)))
    if not rows or rows[0] != _COLUMNS:
        raise IntegrityError(f"{path} does not have the columns {','.join(_COLUMNS)}", _RUN_AGAIN)
    predictions: dict[str, Predictions] = {}
    try:
        for split in dict.fromkeys(row[0] for row in rows[1:]):
            part = [row for row in rows[1:] if row[0] == split]
            predictions[split] = Predictions(
                files=tuple(row[1] for row in part),
                labels=np.array([_number(row[2]) for row in part], np.int64),
                probabilities=np.array([[float(value) for value in row[3:]] for row in part]).reshape(-1, 4),
            )
    except (ValueError, IndexError) as error:
        raise IntegrityError(f"{path} is damaged ({error})", _RUN_AGAIN) from error
    missing = {"val", "test"} - predictions.keys()
    if missing:
        raise IntegrityError(f"{path} has no predictions for {', '.join(sorted(missing))}", _RUN_AGAIN)
    return predictions


def check_same_images(predictions: Mapping[str, Predictions]) -> None:
    """Check that models predicted the same images.

    Raises:
        IntegrityError: They did not, so their figures cannot be compared.
    """
    (first, reference), *others = predictions.items()
    for name, other in others:
        if other.files != reference.files or not np.array_equal(other.labels, reference.labels):
            raise IntegrityError(
                f"{first} and {name} were evaluated on different images", "evaluate both with the same `data`"
            )
