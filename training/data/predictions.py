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

__all__ = ["Answers", "predictions_csv", "read_predictions", "same_images"]

_COLUMNS = ["split", "file", "label", *CLASSES]
_TUMOUR = "tumour"
"""The label of a tumour of unknown type."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """One model's answers to the images of a split.

    Attributes:
        files: File names, one an image.
        labels: int64 [n], what is right, or `ANY_TUMOUR`.
        probabilities: float64 [n, 4], what the model said; rows sum to 1.
    """

    files: tuple[str, ...]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.files)

    def only(self, names: frozenset[str]) -> "Answers":
        """The answers to these files."""
        index = [number for number, name in enumerate(self.files) if name in names]
        return Answers(tuple(self.files[number] for number in index), self.labels[index], self.probabilities[index])

    def with_probabilities(self, probabilities: NDArray[np.float64]) -> "Answers":
        """Other answers to the same images."""
        return Answers(self.files, self.labels, probabilities)


def predictions_csv(parts: Mapping[Split, Dataset], probabilities: Mapping[Split, NDArray[np.float32]]) -> str:
    """One line an image: split, file, label and the four probabilities."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for split, found in probabilities.items():
        data = parts[split]
        for name, label, row in zip(data.files, data.labels, found, strict=True):
            writer.writerow([split, name, _label(label), *(f"{value:.7g}" for value in row)])
    return stream.getvalue()


def _label(number: int) -> str:
    return _TUMOUR if number == ANY_TUMOUR else CLASSES[number]


def _number(label: str) -> int:
    return ANY_TUMOUR if label == _TUMOUR else CLASSES.index(label)


def read_predictions(path: Path) -> dict[str, Answers]:
    """Read `predictions.csv` by split.

    Raises:
        InputError: There is no such file.
        IntegrityError: It is something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); finish the run first: bt-train MODEL") from error
    rows = list(csv.reader(io.StringIO(text)))
    if not rows or rows[0] != _COLUMNS:
        raise IntegrityError(f"{path} has not the columns {','.join(_COLUMNS)}; run bt-train again")
    found: dict[str, Answers] = {}
    try:
        for split in dict.fromkeys(row[0] for row in rows[1:]):
            chosen = [row for row in rows[1:] if row[0] == split]
            found[split] = Answers(
                files=tuple(row[1] for row in chosen),
                labels=np.array([_number(row[2]) for row in chosen], np.int64),
                probabilities=np.array([[float(value) for value in row[3:]] for row in chosen]).reshape(-1, 4),
            )
    except (ValueError, IndexError) as error:
        raise IntegrityError(f"{path} is damaged ({error}); run bt-train again") from error
    missing = {"val", "test"} - found.keys()
    if missing:
        raise IntegrityError(f"{path} has no answers for {', '.join(sorted(missing))}; run bt-train again")
    return found


def same_images(answers: Mapping[str, Answers]) -> None:
    """See that models answered the same images.

    Raises:
        IntegrityError: They did not: their figures cannot stand in one table.
    """
    (first, reference), *others = answers.items()
    for name, other in others:
        if other.files != reference.files or not np.array_equal(other.labels, reference.labels):
            raise IntegrityError(
                f"{first} and {name} were evaluated on different images", "evaluate both with the same `data`"
            )
