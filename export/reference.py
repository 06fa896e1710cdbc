"""What an export is compared with: Keras itself, shipped answers of Keras, or the export's own FP32 graph.

Keras answers wherever it is installed. The shipped weights carry recorded answers for installations without. What is
compared with neither is "not verified against Keras", and its bundle says so.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.phantoms import phantoms
from braintumor.errors import ModelError
from braintumor.export.from_keras import KerasFacts
from braintumor.export.from_keras.archive import KerasArchive
from braintumor.export.network import keras_is_installed
from braintumor.runtime.files import atomic_text
from braintumor.runtime.image import Resize, read_grey, resize

__all__ = [
    "ANSWERS_SUFFIX",
    "RecordedAnswers",
    "Reference",
    "VerificationImages",
    "pixels_sha256",
    "read_answers",
    "record_answers",
    "reference_for",
    "reference_source",
    "write_answers",
]

ANSWERS_SUFFIX: Final = ".answers.json"
_SCHEMA: Final = "braintumor.keras-answers/1"
_SIGNIFICANT: Final = 9
"""Decimal digits that tell any two float32 apart."""


@dataclass(frozen=True, slots=True)
class VerificationImages:
    """What both sides are asked about.

    Attributes:
        paths: Image files; empty for phantoms.
        count: How many phantoms.
    """

    paths: tuple[Path, ...]
    count: int

    @property
    def kind(self) -> str:
        """Either "real" or "phantoms"."""
        return "real" if self.paths else "phantoms"

    def sized(self, height: int, width: int, how: Resize) -> NDArray[np.uint8]:
        """The images at a model's size: uint8 [n, height, width]."""
        if not self.paths:
            return phantoms(self.count, height, width)
        return np.stack([resize(read_grey(path).pixels, height, width, how) for path in self.paths])


@dataclass(frozen=True, slots=True)
class RecordedAnswers:
    """Keras's answers to phantoms, for one `.keras` file.

    Attributes:
        source_sha256: Of the `.keras` file.
        keras: What answered, such as "Keras 3.15.1, TensorFlow 2.21.0".
        images_sha256: Of the phantoms' pixels, uint8 [n, height, width].
        outputs: float32 [n, classes], what the model gave, in its own class order.
    """

    source_sha256: str
    keras: str
    images_sha256: str
    outputs: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What a model itself says of the verification images.

    Attributes:
        outputs: float32 [n, classes], what the model gave, in its own class order.
        answered_by: Such as "Keras 3.15.1, TensorFlow 2.21.0".
    """

    outputs: NDArray[np.float32]
    answered_by: str


def read_answers(path: Path) -> RecordedAnswers:
    """Read recorded answers.

    Raises:
        ModelError: The file cannot be read, or does not hold answers of this schema.
    """
    try:
        data = json.loads(path.read_bytes())
        if data["schema"] != _SCHEMA:
            raise ValueError(f"its schema is {data['schema']!r}, not {_SCHEMA!r}")  # noqa: TRY301 - as what follows
        answers = RecordedAnswers(
            str(data["source_sha256"]),
            str(data["keras"]),
            str(data["images_sha256"]),
            np.array(data["outputs"], np.float32),
        )
        if answers.outputs.ndim != 2 or not np.isfinite(answers.outputs).all():  # noqa: PLR2004 - [images, classes]
            raise ValueError("its outputs are not rows of finite numbers")  # noqa: TRY301
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path} does not hold Keras's answers ({type(error).__name__}: {error}); copy it again, or remove it "
            "and export where Keras is installed"
        ) from error
    return answers


def write_answers(answers: RecordedAnswers, path: Path) -> None:
    """Write recorded answers, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    data: dict[str, Any] = {"schema": _SCHEMA, **asdict(answers)}
    data["outputs"] = [[float(f"{value:.{_SIGNIFICANT}g}") for value in row] for row in answers.outputs.tolist()]
    with atomic_text(path) as stream:
        json.dump(data, stream, indent=1)
        stream.write("\n")


def reference_source(archive: KerasArchive) -> str:
    """What a model's export will be compared with here: "keras", "recorded" answers, or its "own" FP32 graph."""
    if keras_is_installed():
        return "keras"
    return "recorded" if _answers_path(archive).is_file() else "own"


def reference_for(
    archive: KerasArchive, facts: KerasFacts, preprocess: str, images: NDArray[np.uint8]
) -> Reference | None:
    """Ask Keras or, where it is not installed, look for answers that it gave earlier.

    Args:
        archive: The model.
        facts: About it.
        preprocess: How its pixels are scaled outside.
        images: uint8 [n, height, width].

    Returns:
        None where there is neither.

    Raises:
        ModelError: Keras does not load the model, or the recorded answers are damaged.
    """
    if keras_is_installed():
        from braintumor.export.via_keras.answer import keras_answers

        return Reference(*keras_answers(archive, facts.channels, preprocess, images))
    path = _answers_path(archive)
    if not path.is_file():
        return None
    recorded = read_answers(path)
    fits = recorded.source_sha256 == archive.sha256 and recorded.images_sha256 == pixels_sha256(images)
    return Reference(recorded.outputs, f"{recorded.keras}, recorded") if fits else None


def record_answers(archive: KerasArchive, facts: KerasFacts, images: VerificationImages) -> Path:
    """Write what Keras answers to generated phantoms beside a model that scales inside.

    Raises:
        ModelError: Keras does not load the model.
        OutputError: The file cannot be written.
    """
    from braintumor.export.via_keras.answer import keras_answers

    pixels = images.sized(facts.height, facts.width, "antialias")
    outputs, answered_by = keras_answers(archive, facts.channels, "none", pixels)
    path = _answers_path(archive)
    write_answers(RecordedAnswers(archive.sha256, answered_by, pixels_sha256(pixels), outputs), path)
    return path


def pixels_sha256(images: NDArray[np.uint8]) -> str:
    """SHA-256 of images' pixels and shape."""
    return hashlib.sha256(repr(images.shape).encode() + np.ascontiguousarray(images).tobytes()).hexdigest()


def _answers_path(archive: KerasArchive) -> Path:
    return archive.path.with_suffix(ANSWERS_SUFFIX)
