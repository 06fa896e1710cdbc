"""The work of Keras and tf2onnx in an export, in a process of its own.

    python -m braintumor.export.via_keras.worker convert|answer FOLDER  < request.json

`braintumor.export.via_keras.process` starts it, so that TensorFlow's memory ends with the job, a file that crashes it
ends nothing else, and no other module imports it. It does not outlive a parent that was killed
(`braintumor.child`). Written into FOLDER:

    result.json      `KerasFacts` of a conversion, {} of answers, or {"error", "remedy", "loads": Keras loads it}
    backbone.onnx        convert: the network, [batch, channels, height, width] as Keras takes it → its own output
    answers.npy      answer: float32 [n, classes], Keras's answers to FOLDER/images.npy, uint8 [n, height, width]
"""

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.child import end_with_input, end_with_parent
from braintumor.errors import BraintumorError, KerasLoadError, ModelError
from braintumor.export.from_keras import KerasFacts
from braintumor.export.via_keras.canonical import canonical
from braintumor.export.via_keras.classifier import load_classifier, model_facts
from braintumor.models.scaling import scaled_outside

__all__ = ["ANSWERS", "BACKBONE", "IMAGES", "OPSET", "RESULT", "AnswerRequest", "ConvertRequest"]

BACKBONE, IMAGES, ANSWERS, RESULT = "backbone.onnx", "images.npy", "answers.npy", "result.json"

OPSET: Final = 18
"""The highest that tf2onnx writes."""

_KERAS_BATCH: Final = 32


@dataclasses.dataclass(frozen=True, slots=True)
class ConvertRequest:
    """A conversion.

    Attributes:
        model: The model file, checked by `open_archive`.
        size: Height and width in pixels; None for the model's own.
    """

    model: str
    size: tuple[int, int] | None


@dataclasses.dataclass(frozen=True, slots=True)
class AnswerRequest:
    """A request for answers.

    Attributes:
        model: The model file, checked by `open_archive`.
        channels: That the model takes, 1 or 3.
        preprocess: Scaling of its pixels outside.
    """

    model: str
    channels: int
    preprocess: str


def main(job: str, folder: Path, request: Mapping[str, Any]) -> None:
    """Do one job; see the module."""
    try:
        result = _convert(folder, **request) if job == "convert" else _answer(folder, **request)
    except BraintumorError as error:
        result = {"error": error.message, "remedy": error.remedy, "loads": not isinstance(error, KerasLoadError)}
    (folder / RESULT).write_text(json.dumps(result), encoding="utf-8")


def _convert(folder: Path, model: str, size: tuple[int, int] | None) -> dict[str, Any]:
    import keras

    loaded, policy = load_classifier(keras, model)
    facts = model_facts(loaded, model, size and (size[0], size[1]), policy)
    _save_backbone(loaded, folder / BACKBONE, facts)
    return dataclasses.asdict(facts)


def _answer(folder: Path, model: str, channels: int, preprocess: str) -> dict[str, Any]:
    import keras

    loaded, _ = load_classifier(keras, model)
    answers = _keras_answers(keras, loaded, np.load(folder / IMAGES), channels, preprocess)
    if not np.isfinite(answers).all():
        raise ModelError(f"{model} gives NaN or infinite outputs on the verification images in Keras itself")
    np.save(folder / ANSWERS, answers)
    return {"answered": len(answers)}


def _keras_answers(
    keras: Any, model: Any, images: NDArray[np.uint8], channels: int, preprocess: str
) -> NDArray[np.float32]:
    """Answers of Keras to images prepared as a Keras user would, independent of the exported graph."""
    pixels = np.repeat(images[..., np.newaxis], channels, axis=-1).astype(np.float32)
    pixels = scaled_outside(keras, pixels, preprocess)
    pixels = pixels.astype(model.inputs[0].dtype)
    # A model may name its one output: {"diagnosis": …}.
    (answers,) = keras.tree.flatten(model.predict(pixels, batch_size=_KERAS_BATCH, verbose=0))
    return np.asarray(answers, dtype=np.float32)


def _save_backbone(model: Any, path: Path, facts: KerasFacts) -> None:
    import onnx
    import tensorflow as tf
    import tf2onnx

    shape = (None, facts.height, facts.width, facts.channels)
    signature = (tf.TensorSpec(shape, model.inputs[0].dtype, name="pixels"),)
    # tf2onnx's from_keras does not find the inputs of a Keras 3 Sequential; a function has no such names.
    answer = tf.function(lambda pixels: model(pixels, training=False), input_signature=signature)
    options = {"input_signature": signature, "opset": OPSET, "inputs_as_nchw": ["pixels"]}
    with _optimised_without_clock():
        backbone, _ = tf2onnx.convert.from_function(answer, **options)
    captures = answer.get_concrete_function().graph.captures
    _bind_constants(backbone.graph, {inside.name: outside for outside, inside in captures})
    onnx.save(canonical(backbone), str(path))


@contextlib.contextmanager
def _optimised_without_clock() -> Iterator[None]:
    """Let TensorFlow finish optimising a graph: it stops after some time, at a different point each time."""
    from tensorflow.python.grappler import tf_optimizer

    optimise = tf_optimizer.OptimizeGraph

    def patient(config: Any, *args: Any, **kwargs: Any) -> Any:
        config.graph_options.rewrite_options.meta_optimizer_timeout_ms = -1
        return optimise(config, *args, **kwargs)

    tf_optimizer.OptimizeGraph = patient
    try:
        yield
    finally:
        tf_optimizer.OptimizeGraph = optimise


def _bind_constants(graph: Any, captured: Mapping[str, Any]) -> None:
    """Give constants their values: tf2onnx takes tensors that a model holds outside itself for further inputs.

    A Normalization layer keeps its mean so, and so does `preprocess_input`.
    """
    from onnx import numpy_helper

    for value in [value for value in graph.input if value.name in captured]:
        graph.initializer.append(numpy_helper.from_array(captured[value.name].numpy(), value.name))
        graph.input.remove(value)


if __name__ == "__main__":
    end_with_parent()
    request = json.loads(sys.stdin.readline())
    end_with_input()
    main(sys.argv[1], Path(sys.argv[2]), request)
