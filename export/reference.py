"""What an export is compared with: Keras itself, shipped answers of Keras, or the export's own FP32 graph.

Keras answers wherever it is installed. The shipped weights carry recorded answers for installations without. What is
compared with neither is "not verified against Keras", and its bundle says so.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.phantoms import phantoms
from braintumor.bench.recorded import answers_path, pixels_sha256, read_answers
from braintumor.export.from_keras import KerasFacts
from braintumor.export.from_keras.archive import KerasArchive
from braintumor.export.network import keras_is_installed
from braintumor.runtime.image import Resize, read_grey, resize

__all__ = ["Reference", "VerificationImages", "reference_for", "reference_source"]


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
            return _phantoms(self.count, height, width)
        return np.stack([resize(read_grey(path).pixels, height, width, how) for path in self.paths])


@functools.lru_cache(maxsize=4)
def _phantoms(count: int, height: int, width: int) -> NDArray[np.uint8]:
    """Drawn once for all members of one size; read-only."""
    drawn = phantoms(count, height, width)
    drawn.setflags(write=False)
    return drawn


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What a model itself says of the verification images.

    Attributes:
        outputs: float32 [n, classes], what the model gave, in its own class order.
        answered_by: Such as "Keras 3.15.1, TensorFlow 2.21.0".
    """

    outputs: NDArray[np.float32]
    answered_by: str


def reference_source(archive: KerasArchive) -> str:
    """What a model's export will be compared with here: "keras", "recorded" answers, or its "own" FP32 graph."""
    if keras_is_installed():
        return "keras"
    return "recorded" if answers_path(archive.path).is_file() else "own"


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
    path = answers_path(archive.path)
    if not path.is_file():
        return None
    recorded = read_answers(path)
    fits = recorded.source_sha256 == archive.sha256 and recorded.images_sha256 == pixels_sha256(images)
    return Reference(recorded.outputs, f"{recorded.keras}, recorded") if fits else None
