"""Recorded outputs of Keras for phantoms, stored beside the `.keras` file.

With them the shipped weights are exported and verified without Keras, installed or not.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import ModelError
from braintumor.files import atomic_text

__all__ = ["PHANTOMS", "RecordedAnswers", "answers_path", "pixels_sha256", "read_answers", "write_answers"]

PHANTOMS: Final = 64
"""Number of phantoms."""

_SUFFIX: Final = ".answers.json"
_SCHEMA: Final = "braintumor.keras-answers/1"
_SIGNIFICANT: Final = 9
"""Decimal digits that distinguish any two float32."""


@dataclass(frozen=True, slots=True)
class RecordedAnswers:
    """Outputs of Keras for phantoms, for one `.keras` file.

    Attributes:
        source_sha256: Of the `.keras` file.
        keras: Versions, such as "Keras 3.15.1, TensorFlow 2.21.0".
        images_sha256: Of the phantoms' pixels, uint8 [n, height, width].
        outputs: float32 [n, classes], the outputs of the model, in its own class order.
    """

    source_sha256: str
    keras: str
    images_sha256: str
    outputs: NDArray[np.float32]


def answers_path(model: Path) -> Path:
    """The file of the recorded answers of a `.keras` file, beside it."""
    return model.with_suffix(_SUFFIX)


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
            f"{path} does not hold recorded answers of Keras ({type(error).__name__}: {error})",
            "copy it again, or remove it and export where Keras is installed",
        ) from error
    return answers


def write_answers(answers: RecordedAnswers, path: Path) -> None:
    """Write recorded answers; a file is replaced as a whole.

    Raises:
        OutputError: The file cannot be written.
    """
    data: dict[str, Any] = {"schema": _SCHEMA, **asdict(answers)}
    data["outputs"] = [[float(f"{value:.{_SIGNIFICANT}g}") for value in row] for row in answers.outputs.tolist()]
    with atomic_text(path) as stream:
        json.dump(data, stream, indent=1)
        stream.write("\n")


def pixels_sha256(images: NDArray[np.uint8]) -> str:
    """SHA-256 of the pixels and the shape of images."""
    return hashlib.sha256(repr(images.shape).encode() + np.ascontiguousarray(images).tobytes()).hexdigest()
