"""Answers of Keras itself, computed in a process of its own and cached: the reference of an export."""

import hashlib
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from braintumor.cache import Cache, content_key
from braintumor.export.from_keras.archive import KerasArchive
from braintumor.export.via_keras.process import library_versions, run_worker
from braintumor.export.via_keras.worker import ANSWERS, IMAGES, AnswerRequest

__all__ = ["keras_answers"]

_CACHE: Final = Cache("keras-answers")
# Moves when the worker would give other answers.
_RECIPE: Final = 1


def keras_answers(
    archive: KerasArchive, channels: int, preprocess: str, images: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], str]:
    """Answers of a model in Keras, on the CPU, in float32.

    Args:
        archive: The model.
        channels: That it takes, 1 or 3.
        preprocess: Scaling of its pixels outside.
        images: uint8 [n, height, width].

    Returns:
        float32 [n, classes], the model's answers, and who answered, such as "Keras 3.15.1, TensorFlow 2.21.0".

    Raises:
        KerasLoadError: Keras does not load the model.
        ModelError: It gives NaN.
        OutputError: The cache cannot be written.
    """
    versions = library_versions()
    request = AnswerRequest(str(archive.path.resolve()), channels, preprocess)
    key = content_key(
        {
            "recipe": _RECIPE,
            "model": archive.sha256,
            "channels": channels,
            "preprocess": preprocess,
            "images": [images.shape, hashlib.sha256(images.tobytes()).hexdigest()],
            "versions": versions,
        }
    )

    def build(folder: Path) -> None:
        np.save(folder / IMAGES, images)
        run_worker(folder, "answer", request)
        (folder / IMAGES).unlink()

    outputs: NDArray[np.float32] = np.load(_CACHE.build(key, build) / ANSWERS)
    return outputs, f"Keras {versions['keras']}, TensorFlow {versions['tensorflow']}"
