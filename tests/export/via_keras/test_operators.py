"""Operators that tf2onnx writes for layers that the direct writer does not know."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from braintumor.errors import ModelError
from braintumor.export.member import build_member
from braintumor.export.options import MemberOptions, Target
from braintumor.export.stages import ModelStages, open_model
from braintumor.export.verify.reference import VerificationImages
from braintumor.models.labels import CLASSES

pytestmark = pytest.mark.usefixtures("keras_in_process")


def saved(folder: Path, head: Callable[[Any, Any], Any]) -> Path:
    """A model of a convolution, whose result is taken as a sequence, and a head."""
    import keras

    layers = keras.layers
    image = keras.Input((64, 64, 3))
    x = layers.Conv2D(8, 8, 8)(layers.Rescaling(1 / 255)(image))
    keras.Model(image, layers.Dense(4, activation="softmax")(head(layers, x))).save(folder / "model.keras")
    return folder / "model.keras"


def exported(model: Path, folder: Path) -> dict[str, Any]:
    opened = open_model(MemberOptions(model, "model", 1.0, CLASSES))
    build_member(folder, ModelStages(opened, CLASSES, VerificationImages((), 64), folder), Target("fp32"))
    return dict(json.loads((folder / "figures.json").read_text()))


def refusal(model: Path, folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        exported(model, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


RECURRENT: dict[str, Callable[[Any, Any], Any]] = {
    "GRU": lambda layers, x: layers.GRU(8, name="memory")(layers.Reshape((8, 64))(x)),
    "SimpleRNN": lambda layers, x: layers.SimpleRNN(8, name="memory")(layers.Reshape((8, 64))(x)),
    "ConvLSTM2D": lambda layers, x: layers.GlobalAveragePooling2D()(
        layers.ConvLSTM2D(4, 3, name="memory")(layers.Reshape((2, 4, 8, 8))(x))
    ),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_build_member_names_a_recurrent_layer_that_becomes_a_loop(tmp_path: Path, name: str):
    message = refusal(saved(tmp_path, RECURRENT[name]), tmp_path)
    assert f"layer 'memory' ({name})" in message
    assert "unroll=True" in message


def test_build_member_exports_an_unrolled_recurrent_layer(tmp_path: Path):
    def head(layers: Any, x: Any) -> Any:
        return layers.GRU(8, unroll=True)(layers.Reshape((8, 64))(x))

    figures = exported(saved(tmp_path, head), tmp_path)
    assert figures["route"]["name"] == "keras"
    assert figures["parity"]["against_keras"]


def test_build_member_exports_gelu_beside_an_unknown_layer(tmp_path: Path):
    def head(layers: Any, x: Any) -> Any:
        x = layers.TimeDistributed(layers.Dense(8))(layers.Reshape((8, 64))(layers.Activation("gelu")(x)))
        return layers.GlobalAveragePooling1D()(layers.Activation("gelu")(x))

    figures = exported(saved(tmp_path, head), tmp_path)
    assert figures["route"]["name"] == "keras"
    assert max(at["max_abs_difference"] for at in figures["parity"]["by_batch"].values()) <= 1e-6


def test_build_member_refuses_dropout_in_every_answer(tmp_path: Path):
    def head(layers: Any, x: Any) -> Any:
        x = layers.Dropout(0.5, name="monte_carlo")(layers.Reshape((8, 64))(x), training=True)
        return layers.GRU(8)(x)

    message = refusal(saved(tmp_path, head), tmp_path)
    assert "layer 'monte_carlo' (Dropout) is called with training=True, so the model's answers are random" in message
