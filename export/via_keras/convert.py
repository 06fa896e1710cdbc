"""The Keras side of an export: runs `onnx_from_keras` in a process of its own, and caches what it gives."""

import dataclasses
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import ModelError, UnavailableError
from braintumor.export.from_keras.archive import KerasArchive
from braintumor.export.via_keras.worker import CORE, FACTS, IMAGES, REFERENCE, Facts, Request
from braintumor.runtime.cache import cached, content_key
from braintumor.runtime.files import sha256_of

__all__ = ["Conversion", "convert", "tool_versions"]

_CACHE_KIND: Final = "keras-to-onnx"
# Moves when this module, onnx_from_keras or classifier would give another result for the same request.
_RECIPE: Final = 4
_TOOLS: Final = ("keras", "tensorflow", "tf2onnx", "onnx", "onnxslim", "onnxruntime", "numpy")
_LAST_LINES: Final = 3

# tf2onnx copies the graph in each of its passes, and protobuf's C implementation gives no copy's memory back:
# 10.0 GB for InceptionResNetV2, against 4.5 GB with the one in Python, which takes a small model 40 s longer.
_LARGE_MODEL_BYTES: Final = 50_000_000


@dataclass(frozen=True, slots=True)
class Conversion:
    """What Keras gave.

    Attributes:
        core: ONNX file of the network alone.
        facts: About the model.
        images: uint8 [n, height, width], asked of both sides.
        reference: float32 [n, 4], Keras's probabilities for them, in the model's own class order.
        key: Of the conversion in the cache: the same key, the same content.
    """

    core: Path
    facts: Facts
    images: NDArray[np.uint8]
    reference: NDArray[np.float32]
    key: str


def tool_versions() -> dict[str, str]:
    """Versions of the libraries that decide what an export looks like.

    Raises:
        UnavailableError: One of them is not installed.
    """
    versions = {}
    for name in _TOOLS:
        try:
            versions[name] = _version(name)
        except PackageNotFoundError as error:
            raise UnavailableError(
                f"exporting needs the package {name}, which is not installed; install it with: "
                "pip install 'braintumor[export,cpu]'"
            ) from error
    return versions


def _version(name: str) -> str:
    """A package's version; the CPU and GPU builds of one library go by two names."""
    twins = {"tensorflow": "tensorflow-cpu", "onnxruntime": "onnxruntime-gpu"}
    try:
        return version(name)
    except PackageNotFoundError:
        if name not in twins:
            raise
        return version(twins[name])


def convert(archive: KerasArchive, request: Request) -> Conversion:
    """Convert a model and ask it about the verification images; seconds when it was done before.

    Raises:
        ModelError: It is not a classifier that can be exported.
        UnavailableError: TensorFlow or tf2onnx is not installed.
        OutputError: The cache cannot be written.
    """
    tools = tool_versions()
    asked = dataclasses.asdict(request) | {"model": archive.sha256}
    asked["images"] = [sha256_of(Path(image)) for image in request.images]
    key = content_key({"recipe": _RECIPE, "request": asked, "tools": tools})
    entry = cached(_CACHE_KIND, key, lambda folder: _run(folder, request, archive.unpacked_bytes))
    facts = Facts(**json.loads((entry / FACTS).read_bytes()))
    return Conversion(entry / CORE, facts, np.load(entry / IMAGES), np.load(entry / REFERENCE), key)


def _run(folder: Path, request: Request, model_bytes: int) -> None:
    request_path = folder / "request.json"
    # The process reads what it needs from this file alone: no path goes through a shell.
    resolved = dataclasses.replace(
        request,
        model=str(Path(request.model).resolve()),
        images=tuple(str(Path(image).resolve()) for image in request.images),
    )
    request_path.write_text(json.dumps(dataclasses.asdict(resolved)), encoding="utf-8")
    # -P: a file of the working directory that is called keras.py is not the one that is meant.
    command = [sys.executable, "-P", "-m", "braintumor.export.via_keras.worker", str(request_path)]
    # The CPU gives the reference: a GPU's TF32 would not.
    environment = os.environ | {
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    if model_bytes > _LARGE_MODEL_BYTES:
        environment["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "python"
    done = subprocess.run(  # noqa: S603 - our own module in our own interpreter
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    facts = _facts(folder)
    if "error" in facts:
        raise ModelError(facts["error"])
    if done.returncode != 0 or not facts:
        last = " / ".join(done.stderr.strip().splitlines()[-_LAST_LINES:])
        raise ModelError(f"converting {request.model} ended with exit status {done.returncode}: {last}")
    request_path.unlink()


def _facts(folder: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads((folder / FACTS).read_bytes())
    except (OSError, ValueError):
        return {}
    return facts
