"""Keras → ONNX, in a process that has no other job.

    python -m braintumor.export.onnx_from_keras REQUEST.json

`braintumor.export.conversion` writes the request and starts the process, so that TensorFlow's memory ends
with the conversion, a file that crashes it takes nothing down, and nobody else imports it. Written into the
request's folder:

    core.onnx        the network alone: [batch, channels, height, width] as Keras takes it → its own outputs
    images.npy       uint8 [n, height, width], what verification will ask both sides
    reference.npy    float32 [n, 4], what Keras answered, as probabilities in the model's own class order
    facts.json       `Facts`, or {"error": …}
"""

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.phantoms import phantoms
from braintumor.errors import InputError, ModelError
from braintumor.models.labels import CLASSES
from braintumor.runtime.image import Resize, read_grey, resize

__all__ = ["CORE", "FACTS", "IMAGES", "OPSET", "REFERENCE", "Facts", "Request"]

CORE, IMAGES, REFERENCE, FACTS = "core.onnx", "images.npy", "reference.npy", "facts.json"

OPSET: Final = 18
"""The highest that tf2onnx writes."""

_KERAS_BATCH: Final = 32
_IMAGE_RANK: Final = 4
_SUM_TOLERANCE: Final = 1e-3

# Layers and operations by which a model scales its input itself.
_SCALING: Final = frozenset(
    {
        "Rescaling",
        "Normalization",
        "TrueDivide",
        "Divide",
        "Multiply",
        "Subtract",
        "Add",
        "BatchNormalization",
    }
)
_FEATURES: Final = ("Conv", "Separable", "Depthwise", "Dense", "EinsumDense")


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What to convert.

    Attributes:
        model: The `.keras` file, checked by `open_archive`.
        preprocess: "auto" (the model must scale inside), "none", "tf" or "torch".
        size: Height and width in pixels; None for the model's own.
        resize: How images are brought to that size.
        images: Image files for the verification; empty for phantoms.
        count: How many phantoms.
    """

    model: str
    preprocess: str
    size: tuple[int, int] | None
    resize: Resize
    images: tuple[str, ...]
    count: int


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """What was found out about the model.

    Attributes:
        height: Of the input, in pixels.
        width: Of the input, in pixels.
        channels: 1 or 3.
        preprocess: Resolved: "none", "tf" or "torch".
        logits: The model ends in logits; a softmax has to be added.
        parameters: Number of weights.
        architecture: The model's own name.
    """

    height: int
    width: int
    channels: int
    preprocess: str
    logits: bool
    parameters: int
    architecture: str


def main(request_path: Path) -> None:
    """Serve one request; see the module."""
    folder = request_path.parent
    request = json.loads(request_path.read_bytes())
    size = tuple(request.pop("size") or ()) or None
    try:
        facts = dataclasses.asdict(_convert(folder, Request(size=size, **request)))
    except (ModelError, InputError) as error:
        facts = {"error": str(error)}
    (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")


def _convert(folder: Path, request: Request) -> Facts:
    import keras

    model = _load(keras, request.model)
    height, width, channels = _input_geometry(model, request)
    _check_output(model, request.model)
    preprocess = _preprocess(model, request)
    images = _images(request, height, width)
    np.save(folder / IMAGES, images)
    answers = _keras_answers(keras, model, images, channels, preprocess)
    logits = _ends_in_logits(answers, request.model)
    np.save(folder / REFERENCE, _softmax(answers) if logits else answers)
    _save_core(model, folder / CORE, (height, width, channels))
    return Facts(height, width, channels, preprocess, logits, model.count_params(), model.name)


def _load(keras: Any, path: str) -> Any:
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        # Keras raises whatever its layers raise; the file is the user's, so the cause is theirs to read.
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{path} does not load in Keras {keras.__version__} ({reason})") from error


def _input_geometry(model: Any, request: Request) -> tuple[int, int, int]:
    wanted = f"{request.model} cannot be exported: allowed is one image [batch, height, width, 1 or 3] as input"
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != _IMAGE_RANK:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in model.inputs)
        raise ModelError(f"{wanted}; the model takes {shapes}")
    _, height, width, channels = model.inputs[0].shape
    if channels not in {1, 3}:
        raise ModelError(f"{wanted}; the model takes {(height, width, channels)}")
    if request.size is not None:
        if (height, width) not in {(None, None), request.size}:
            raise ModelError(
                f"{request.model} takes {height}x{width} pixels; --size {request.size[0]}x{request.size[1]} does "
                "not fit: leave --size out"
            )
        height, width = request.size
    if height is None or width is None:
        raise ModelError(
            f"{request.model} takes images of any size; choose the one it was trained at: --size 224x224"
        )
    return height, width, channels


def _check_output(model: Any, path: str) -> None:
    shapes = [tuple(tensor.shape) for tensor in model.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][1] != len(CLASSES):  # noqa: PLR2004 - [batch, classes]
        found = " and ".join(str(shape) for shape in shapes)
        raise ModelError(
            f"{path} is no classifier of {len(CLASSES)} classes: its output is {found}, needed is "
            f"(batch, {len(CLASSES)}); its input is {tuple(model.inputs[0].shape)}"
        )


def _preprocess(model: Any, request: Request) -> str:
    if request.preprocess != "auto":
        return request.preprocess
    for layer in _layers(model):
        name = type(layer).__name__
        if name in _SCALING:
            return "none"
        if name.startswith(_FEATURES):
            break
    raise ModelError(
        f"{request.model} has no layer that scales its input, so its pixels were scaled outside; say how with "
        "--preprocess tf (to -1..1), --preprocess torch (ImageNet's mean and deviation) or --preprocess none (0..255)"
    )


def _layers(model: Any) -> Iterator[Any]:
    """All layers in order, models within models unfolded."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _layers(layer)
        else:
            yield layer


def _images(request: Request, height: int, width: int) -> NDArray[np.uint8]:
    if not request.images:
        return phantoms(request.count, height, width)
    decoded = [resize(read_grey(path).pixels, height, width, request.resize) for path in request.images]
    return np.stack(decoded)


def _keras_answers(
    keras: Any, model: Any, images: NDArray[np.uint8], channels: int, preprocess: str
) -> NDArray[np.float32]:
    """What Keras says, prepared as a Keras user would, independent of the graph that we build."""
    pixels = np.repeat(images[..., np.newaxis], channels, axis=-1).astype(np.float32)
    if preprocess == "torch" and channels == 1:
        raise ModelError(
            "--preprocess torch scales three colour channels each in its own way; this model takes one grey channel: "
            "use --preprocess tf or none, or save the model with its scaling inside"
        )
    if preprocess != "none":
        pixels = keras.applications.imagenet_utils.preprocess_input(pixels, mode=preprocess)
    answers = model.predict(pixels.astype(model.inputs[0].dtype), batch_size=_KERAS_BATCH, verbose=0)
    return np.asarray(answers, dtype=np.float32)


def _ends_in_logits(answers: NDArray[np.float32], path: str) -> bool:
    """Told from the answers: a softmax sums to 1, sigmoids stay in 0..1 without it, logits do neither."""
    if not np.isfinite(answers).all():
        raise ModelError(f"{path} gives NaN or infinite outputs on the verification images in Keras itself")
    within = bool((answers >= 0).all() and (answers <= 1).all())
    if within and np.abs(answers.sum(axis=1) - 1).max() < _SUM_TOLERANCE:
        return False
    if within:
        raise ModelError(
            f"{path} gives four values in 0..1 that do not sum to 1: independent sigmoids, no choice of one class "
            "among four; train it with a softmax or with logits"
        )
    return True


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float32] = (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities


def _save_core(model: Any, path: Path, shape: tuple[int, int, int]) -> None:
    import onnx
    import tensorflow as tf
    import tf2onnx

    signature = (tf.TensorSpec((None, *shape), model.inputs[0].dtype, name="pixels"),)
    core, _ = tf2onnx.convert.from_keras(model, input_signature=signature, opset=OPSET, inputs_as_nchw=["pixels"])
    onnx.save(core, str(path))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
