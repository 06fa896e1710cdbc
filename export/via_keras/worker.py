"""Keras → ONNX, in a process that has no other job.

    python -m braintumor.export.via_keras.worker REQUEST.json

`braintumor.export.via_keras.convert` writes the request and starts the process, so that TensorFlow's memory ends
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
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.phantoms import phantoms
from braintumor.errors import BraintumorError, ModelError
from braintumor.export.via_keras.classifier import (
    check_output,
    input_geometry,
    last_activation,
    load_classifier,
    resolve_preprocess,
)
from braintumor.models.scaling import scaled_outside
from braintumor.runtime.image import Resize, read_grey, resize

__all__ = ["CORE", "FACTS", "IMAGES", "OPSET", "REFERENCE", "Facts", "Request"]

CORE, IMAGES, REFERENCE, FACTS = "core.onnx", "images.npy", "reference.npy", "facts.json"

OPSET: Final = 18
"""The highest that tf2onnx writes."""

_KERAS_BATCH: Final = 32
_SUM_TOLERANCE: Final = 1e-3


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What to convert.

    Attributes:
        model: The `.keras` file, checked by `open_archive`.
        preprocess: "auto" (the model must scale inside), "none", "unit", "tf" or "torch".
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
        preprocess: Resolved: "none", "unit", "tf" or "torch".
        logits: The model ends in logits; a softmax has to be added.
        parameters: Number of weights.
        architecture: The model's own name.
        policy: The dtype policy that it was saved with; it is computed in float32 whatever that was.
    """

    height: int
    width: int
    channels: int
    preprocess: str
    logits: bool
    parameters: int
    architecture: str
    policy: str


def main(request_path: Path) -> None:
    """Serve one request; see the module."""
    folder = request_path.parent
    request = json.loads(request_path.read_bytes())
    size = tuple(request.pop("size") or ()) or None
    try:
        facts = dataclasses.asdict(_convert(folder, Request(size=size, **request)))
    except BraintumorError as error:
        facts = {"error": str(error)}
    (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")


def _convert(folder: Path, request: Request) -> Facts:
    import keras

    model, policy = load_classifier(keras, request.model)
    height, width, channels = input_geometry(model, request.model, request.size)
    check_output(model, request.model)
    preprocess = resolve_preprocess(model, request.model, request.preprocess)
    images = _images(request, height, width)
    np.save(folder / IMAGES, images)
    answers = _keras_answers(keras, model, images, channels, preprocess)
    logits = _ends_in_logits(answers, last_activation(model), request.model)
    np.save(folder / REFERENCE, _softmax(answers) if logits else answers)
    _save_core(model, folder / CORE, (height, width, channels))
    return Facts(height, width, channels, preprocess, logits, model.count_params(), model.name, policy)


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
    pixels = scaled_outside(keras, pixels, preprocess)
    pixels = pixels.astype(model.inputs[0].dtype)
    # A model may name its one output: {"diagnosis": …}.
    (answers,) = keras.tree.flatten(model.predict(pixels, batch_size=_KERAS_BATCH, verbose=0))
    return np.asarray(answers, dtype=np.float32)


def _ends_in_logits(answers: NDArray[np.float32], activation: str | None, path: str) -> bool:
    """Told from the last layer; where it does not tell, from the answers: a softmax sums to 1, logits leave 0..1."""
    if not np.isfinite(answers).all():
        raise ModelError(f"{path} gives NaN or infinite outputs on the verification images in Keras itself")
    if activation == "linear":
        return True
    within = bool((answers >= 0).all() and (answers <= 1).all())
    if activation == "sigmoid":
        raise ModelError(
            f"{path} ends in independent sigmoids, no choice of one class among four; train it with a softmax "
            "or with logits"
        )
    if within and np.abs(answers.sum(axis=1) - 1).max() < _SUM_TOLERANCE:
        return False
    if within:
        raise ModelError(
            f"{path} gives four values in 0..1 that do not sum to 1, and its last layer tells neither a softmax nor "
            "logits: end it in a Dense layer with activation='softmax', or without activation for logits"
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
    # tf2onnx's from_keras does not find the inputs of a Keras 3 Sequential; a function has no such names.
    answer = tf.function(lambda pixels: model(pixels, training=False), input_signature=signature)
    core, _ = tf2onnx.convert.from_function(answer, input_signature=signature, opset=OPSET, inputs_as_nchw=["pixels"])
    captures = answer.get_concrete_function().graph.captures
    _bind_constants(core.graph, {inside.name: outside for outside, inside in captures})
    onnx.save(core, str(path))


def _bind_constants(graph: Any, captured: Mapping[str, Any]) -> None:
    """Give constants their values: tf2onnx takes tensors that a model holds outside itself for further inputs.

    A Normalization layer keeps its mean so, and so does `preprocess_input`.
    """
    from onnx import numpy_helper

    for value in [value for value in graph.input if value.name in captured]:
        graph.initializer.append(numpy_helper.from_array(captured[value.name].numpy(), value.name))
        graph.input.remove(value)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
