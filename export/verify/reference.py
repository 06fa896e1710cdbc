"""The reference of an export: recorded answers of Keras, Keras itself, or the export's own FP32 graph.

The shipped weights carry recorded answers, bound to their file and to the phantoms by hashes, so their export needs
no Keras and gives the same bundle everywhere. For every other model Keras answers where it is installed, which takes
some 20 seconds a model. What is compared with neither is "not verified against Keras", and its bundle says so; this
includes files of Keras 2 that Keras 3 does not load.
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.data.phantoms import phantoms
from braintumor.bench.data.recorded import RecordedAnswers, answers_path, pixels_sha256, read_answers
from braintumor.errors import KerasLoadError
from braintumor.export.from_keras import KerasFacts
from braintumor.export.from_keras.archive import KerasArchive
from braintumor.export.network import keras_is_installed
from braintumor.runtime.image.decode import read_grey
from braintumor.runtime.image.geometry import Geometry, apply_geometry

__all__ = ["Reference", "VerificationImages", "reference_for", "reference_source"]

_NOT_INSTALLED: Final = "Keras is not installed here"


@dataclass(frozen=True, slots=True)
class VerificationImages:
    """The images that the export and its reference answer.

    Attributes:
        paths: Image files; empty for phantoms.
        count: Number of phantoms.
    """

    paths: tuple[Path, ...]
    count: int

    @property
    def kind(self) -> str:
        """Either "real" or "phantoms"."""
        return "real" if self.paths else "phantoms"

    def resized(self, geometry: Geometry) -> NDArray[np.uint8]:
        """The images at a model's size: uint8 [n, height, width]."""
        if not self.paths:
            return _phantoms(self.count, geometry.height, geometry.width)
        return np.stack([apply_geometry(read_grey(path).pixels, geometry) for path in self.paths])


@functools.lru_cache(maxsize=4)
def _phantoms(count: int, height: int, width: int) -> NDArray[np.uint8]:
    """Drawn once for all members of one size; read-only."""
    images = phantoms(count, height, width)
    images.setflags(write=False)
    return images


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The answers of a model itself to the verification images.

    Attributes:
        outputs: float32 [n, classes], in the model's own class order; None where nothing could answer.
        answered_by: Such as "Keras 3.15.1, TensorFlow 2.21.0"; None where nothing could answer.
        missing: Why nothing could answer; "" where something did.
    """

    outputs: NDArray[np.float32] | None
    answered_by: str | None
    missing: str = ""


def reference_source(archive: KerasArchive, images: VerificationImages) -> str:
    """The reference that a model's export has here: "recorded" answers, "keras", or its "own" FP32 graph."""
    if not images.paths and answers_path(archive.path).is_file():
        return "recorded"
    return "keras" if keras_is_installed() else "own"


def reference_for(archive: KerasArchive, facts: KerasFacts, preprocess: str, images: NDArray[np.uint8]) -> Reference:
    """Read the answers that Keras gave earlier or, where there are none to these images, let it answer.

    Args:
        archive: The model.
        facts: About it.
        preprocess: Scaling of its pixels outside.
        images: uint8 [n, height, width].

    Raises:
        ModelError: Keras gives NaN, or the recorded answers are damaged.
    """
    if recorded := _recorded_answers(archive, images):
        return Reference(recorded.outputs, f"{recorded.keras}, recorded")
    if not keras_is_installed():
        return Reference(None, None, _NOT_INSTALLED)
    from braintumor.export.via_keras.answer import keras_answers

    try:
        return Reference(*keras_answers(archive, facts.channels, preprocess, images))
    except KerasLoadError as error:
        reason = str(error).replace(str(archive.path.resolve()), archive.path.name)
        return Reference(None, None, f"saved by Keras {archive.keras_version}, {reason}")


def _recorded_answers(archive: KerasArchive, images: NDArray[np.uint8]) -> RecordedAnswers | None:
    """Answers that lie beside the model, if they are about this file and these images."""
    path = answers_path(archive.path)
    if not path.is_file():
        return None
    recorded = read_answers(path)
    fits = recorded.source_sha256 == archive.sha256 and recorded.images_sha256 == pixels_sha256(images)
    return recorded if fits else None
