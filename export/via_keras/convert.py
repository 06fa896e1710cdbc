"""Keras → ONNX through Keras and tf2onnx, for a model with a layer that the direct writer does not know; cached."""

import json
from pathlib import Path
from typing import Final

import onnx

from braintumor.cache import Cache, content_key
from braintumor.export.from_keras import KerasFacts
from braintumor.export.from_keras.archive import KerasArchive
from braintumor.export.via_keras.process import run_worker
from braintumor.export.via_keras.worker import BACKBONE, RESULT, ConvertRequest

__all__ = ["convert"]

_CACHE: Final = Cache("keras-to-onnx")
# Moves when the worker would give another result for the same request.
_RECIPE: Final = 6

# tf2onnx copies the graph in each of its passes, and protobuf's C implementation gives no copy's memory back:
# 10.0 GB for InceptionResNetV2, against 4.5 GB with the one in Python, which takes a small model 40 s longer.
_LARGE_MODEL_BYTES: Final = 50_000_000


def convert(
    archive: KerasArchive, size: tuple[int, int] | None, tools: dict[str, str]
) -> tuple[onnx.ModelProto, KerasFacts]:
    """Convert a model; at once when it was done before.

    Args:
        archive: The model.
        size: Height and width in pixels; None for the model's own.
        tools: Versions of the libraries that decide the result.

    Returns:
        The network alone, and facts about the model.

    Raises:
        ModelError: It is not a classifier that can be exported.
        OutputError: The cache cannot be written.
    """
    key = content_key({"recipe": _RECIPE, "model": archive.sha256, "size": size, "tools": tools})
    large = archive.unpacked_bytes > _LARGE_MODEL_BYTES
    environment = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"} if large else {}

    def build(folder: Path) -> None:
        run_worker(folder, "convert", ConvertRequest(str(archive.path.resolve()), size), **environment)

    entry = _CACHE.build(key, build)
    return onnx.load(str(entry / BACKBONE)), KerasFacts(**json.loads((entry / RESULT).read_bytes()))
