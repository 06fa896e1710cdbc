"""Whole-model `.h5` files: of Keras 3, written in the layout of Keras 2, and one that Keras 2 itself wrote."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from braintumor.errors import ModelError
from braintumor.export.from_keras import open_archive, write_network

from .conftest import TOLERANCE, onnx_answers, pixels
from .keras2_h5 import write_keras2_h5

KERAS2 = Path(__file__).parent / "data" / "keras2.h5"
"""By tf-keras 2.21: DepthwiseConv2D with groups, slashes in names, a model inside of which some layers are frozen."""

ANSWERS = [
    [0.38820934, 0.00559424, 0.00001427, 0.60618216],
    [0.43114495, 0.12887689, 0.00173983, 0.43823832],
    [0.39637128, 0.25168264, 0.00784119, 0.34410489],
]
BRIGHTNESS = np.array([1, 0.6, 0.2], np.float32)


def test_write_network_answers_as_keras_2_did():
    archive = open_archive(KERAS2)
    assert (archive.keras_version, archive.layout) == ("2.21.0", "hdf5")
    converted = write_network(archive)
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.float32)
    images *= BRIGHTNESS[:, np.newaxis, np.newaxis, np.newaxis]
    assert np.abs(onnx_answers(converted, images) - np.array(ANSWERS)).max() <= TOLERANCE


OPERATIONS_ANSWERS = [
    [0.16043058, 0.35664266, 0.25322852, 0.22969826],
    [0.15679863, 0.26203942, 0.29942426, 0.28173774],
    [0.12748408, 0.11980028, 0.26819366, 0.48452196],
]


def test_write_network_reads_tensorflow_functions_of_keras_2():
    converted = write_network(open_archive(KERAS2.with_name("keras2_operations.h5")))
    images = np.random.default_rng(0).integers(0, 256, (3, 12, 12, 3)).astype(np.float32)
    images *= BRIGHTNESS[:, np.newaxis, np.newaxis, np.newaxis]
    assert np.abs(onnx_answers(converted, images) - np.array(OPERATIONS_ANSWERS)).max() <= TOLERANCE


def test_write_network_leaves_a_tensorflow_function_with_an_option_to_keras(tmp_path: Path):
    path = tmp_path / "model.h5"
    path.write_bytes(KERAS2.with_name("keras2_operations.h5").read_bytes())

    def plant(file: h5py.File) -> None:
        config = json.loads(file.attrs["model_config"])
        (layer,) = [item for item in config["config"]["layers"] if item["config"].get("function") == "nn.silu"]
        layer["inbound_nodes"][0][3] = {"beta": 2.0}
        file.attrs["model_config"] = json.dumps(config)

    assert "'tf.nn.silu' (TFOpLambda) is not known" in refusal(change(path, plant))


def backbone() -> Any:
    """Convolutions with and without groups, BatchNormalizations, a layer that is called twice."""
    import keras

    layers = keras.layers
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, strides=2, use_bias=False, name="stem_conv")(image)
    x = layers.BatchNormalization(name="stem_bn")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(layers.Activation("swish", name="swish")(x))
    shared = layers.Conv2D(8, 1, activation="relu", name="shared")
    x = layers.Add(name="add")([x, shared(shared(x))])
    return keras.Model(image, layers.SeparableConv2D(8, 3, name="separable")(x), name="backbone")


def functional(inner: Any) -> Any:
    import keras

    layers = keras.layers
    image = keras.Input((16, 16, 3))
    x = layers.GlobalAveragePooling2D()(inner(layers.Rescaling(1 / 127.5, offset=-1.0)(image)))
    return keras.Model(image, layers.Dense(4, activation="softmax")(layers.Dropout(0.3)(x)))


def sequential(inner: Any) -> Any:
    import keras

    layers = keras.layers
    head = keras.Sequential(
        [layers.Dense(6, activation="relu", name="hidden"), layers.Dense(4, name="answer")], name="head"
    )
    return keras.Sequential([keras.Input((16, 16, 3)), layers.Rescaling(1 / 255), inner, layers.Flatten(), head])


def made(build: Callable[[Any], Any], frozen: int | None = 0) -> Any:
    """A model with weights far from their initial values, the first layers of its backbone frozen."""
    import keras

    keras.utils.set_random_seed(0)
    inner = backbone()
    for layer in inner.layers[:frozen]:
        layer.trainable = False
    model = build(inner)
    rng = np.random.default_rng(1)
    for variable in model.weights:
        positive = variable.name in {"gamma", "moving_variance"}
        variable.assign(rng.uniform(0.5, 1.5, variable.shape) if positive else rng.normal(0, 0.3, variable.shape))
    return model


def save_as_keras3(model: Any, path: Path) -> Path:
    model.save(path)
    return path


@pytest.mark.parametrize("frozen", [0, 3, None], ids=["trained", "frozen_in_part", "frozen"])
@pytest.mark.parametrize("build", [functional, sequential])
@pytest.mark.parametrize("write", [save_as_keras3, write_keras2_h5], ids=["keras3", "keras2"])
def test_write_network_answers_as_keras_does(tmp_path: Path, write: Any, build: Any, frozen: int | None):
    model = made(build, frozen)
    converted = write_network(open_archive(write(model, tmp_path / "model.h5")))
    images = pixels(converted, 4)
    expected = model.predict(images, verbose=0)
    assert np.ptp(expected, axis=0).max() > 1e-3
    assert np.abs(onnx_answers(converted, images) - expected).max() <= TOLERANCE * max(1.0, np.abs(expected).max())
    assert converted.facts.parameters == sum(int(np.prod(variable.shape)) for variable in model.weights)


def test_write_network_reads_a_model_of_one_level(tmp_path: Path):
    import keras

    layers = keras.layers
    model = keras.Sequential([keras.Input((16, 16, 1)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(4)])
    converted = write_network(open_archive(write_keras2_h5(model, tmp_path / "model.h5")))
    images = pixels(converted, 3)
    expected = model.predict(images, verbose=0)
    assert np.abs(onnx_answers(converted, images) - expected).max() <= TOLERANCE * np.abs(expected).max()


def in_training(inner: Any) -> Any:
    import keras

    layers = keras.layers
    image = keras.Input((16, 16, 3))
    x = layers.GlobalAveragePooling2D()(inner(layers.Rescaling(1 / 127.5)(image), training=True))
    return keras.Model(image, layers.Dense(4, activation="softmax")(x))


def test_write_network_refuses_a_backbone_that_keras_2_calls_in_training(tmp_path: Path):
    path = write_keras2_h5(made(in_training), tmp_path / "model.h5")
    assert "layer 'backbone/stem_bn' (BatchNormalization) is called with training=True" in refusal(path)
    # Frozen, its statistics are those that it was trained to.
    assert write_network(open_archive(write_keras2_h5(made(in_training, None), path))).facts.classes == 4
    # Keras 3 hands its own training=False on.
    model = made(in_training)
    model.save(tmp_path / "model.keras")
    converted = write_network(open_archive(tmp_path / "model.keras"))
    images = pixels(converted, 3)
    assert np.abs(onnx_answers(converted, images) - model.predict(images, verbose=0)).max() <= TOLERANCE


def change(path: Path, what: Callable[[h5py.File], Any]) -> Path:
    with h5py.File(path, "r+") as file:
        what(file)
    return path


@pytest.fixture
def keras2_file(tmp_path: Path) -> Path:
    return write_keras2_h5(made(functional), tmp_path / "model.h5")


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        write_network(open_archive(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_write_network_joins_a_list_of_names_in_parts(keras2_file: Path):
    def split(file: h5py.File) -> None:
        group = file["model_weights/backbone"]
        names = list(group.attrs["weight_names"])
        del group.attrs["weight_names"]
        group.attrs["weight_names0"], group.attrs["weight_names1"] = names[:5], names[5:]

    whole = write_network(open_archive(keras2_file)).model.SerializeToString()
    assert write_network(open_archive(change(keras2_file, split))).model.SerializeToString() == whole


def test_write_network_reads_the_input_of_an_early_sequential(tmp_path: Path):
    import keras

    layers = keras.layers
    model = keras.Sequential([keras.Input((16, 16, 1)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(4)])
    path = write_keras2_h5(model, tmp_path / "model.h5")
    modern = write_network(open_archive(path)).model

    def age(file: h5py.File) -> None:
        config = json.loads(file.attrs["model_config"])
        input_layer, first, *rest = config["config"]["layers"]
        first["config"]["batch_input_shape"] = input_layer["config"]["batch_input_shape"]
        file.attrs["model_config"] = json.dumps(config | {"config": [first, *rest]})
        del file.attrs["keras_version"]

    converted = write_network(open_archive(change(path, age)))
    assert [node.op_type for node in converted.model.graph.node] == [node.op_type for node in modern.graph.node]
    assert converted.facts.parameters == model.count_params()


FAULTS: dict[str, tuple[Callable[[h5py.File], Any], str]] = {
    "no_group": (lambda file: file["model_weights"].__delitem__("backbone"), "backbone/stem_conv needs 1 weights"),
    "no_dataset": (
        lambda file: file["model_weights/backbone/shared"].__delitem__("kernel:0"),
        "names a weight shared/kernel:0 that the file does not hold",
    ),
    "no_weights": (lambda file: file.__delitem__("model_weights"), "needs 1 weights"),
    "names_of_numbers": (
        lambda file: file["model_weights/backbone"].attrs.__setitem__("weight_names", np.arange(3)),
        "weight_names does not hold text",
    ),
    "names_not_listed": (
        lambda file: file["model_weights/backbone"].attrs.__setitem__("weight_names", np.full((2, 2), b"x")),
        "weight_names does not hold a list of names",
    ),
    "config_of_bytes": (lambda file: file.attrs.__setitem__("model_config", b"\xff\xfe"), "model_config"),
    "config_no_text": (lambda file: file.attrs.__setitem__("model_config", np.ones(3)), "does not hold one text"),
    "config_no_json": (lambda file: file.attrs.__setitem__("model_config", "{"), "not JSON"),
    "config_too_deep": (lambda file: file.attrs.__setitem__("model_config", "[" * 9000), "nested too deeply"),
    "config_no_object": (lambda file: file.attrs.__setitem__("model_config", "[]"), "not a JSON object"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_write_network_refuses_a_planted_fault_in_h5(keras2_file: Path, fault: str):
    what, words = FAULTS[fault]
    assert words in refusal(change(keras2_file, what))


def test_write_network_names_layers_renamed_inside_a_model(tmp_path: Path):
    def rename(file: h5py.File) -> None:
        group = file["model_weights/backbone"]
        group.attrs["weight_names"] = [
            name.replace("shared", "other") for name in group.attrs["weight_names"].astype(str)
        ]
        group.move("shared", "other")

    path = change(write_keras2_h5(made(functional), tmp_path / "model.h5"), rename)
    assert "layer backbone/shared needs 2 weights (kernel, bias), its weights file has 0" in refusal(path)


def test_open_archive_says_how_to_save_a_model_of_weights_alone(tmp_path: Path):
    model = made(functional)
    model.save_weights(tmp_path / "new.weights.h5")
    assert "holds weights alone, not the network" in refusal(tmp_path / "new.weights.h5")
    old = write_keras2_h5(model, tmp_path / "old.h5", "2.4.0")

    def only_weights(file: h5py.File) -> None:
        file.attrs["layer_names"] = file["model_weights"].attrs["layer_names"]
        del file.attrs["model_config"]

    message = refusal(change(old, only_weights))
    assert "holds weights alone (Keras 2.4.0)" in message
    assert f"model.load_weights('{old}'); model.save('model.keras')" in message


def test_open_archive_refuses_an_hdf5_volume(tmp_path: Path):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["image"] = np.zeros((8, 8))
    assert "an HDF5 file without a Keras model" in refusal(tmp_path / "scan.h5")


def test_open_archive_names_the_right_suffix_of_an_h5_file(keras2_file: Path):
    path = keras2_file.rename(keras2_file.with_suffix(".keras"))
    assert "rename it to model.h5" in refusal(path)


def test_open_archive_refuses_a_lambda_of_keras_2(keras2_file: Path):
    def plant(file: h5py.File) -> None:
        config = file.attrs["model_config"].replace('"Rescaling"', '"Lambda"')
        file.attrs["model_config"] = config

    assert "Lambda layer" in refusal(change(keras2_file, plant))


def test_open_archive_names_a_custom_class_of_keras_2(keras2_file: Path):
    def plant(file: h5py.File) -> None:
        config = file.attrs["model_config"].replace('"Rescaling"', '"Mine>Sharpen"')
        file.attrs["model_config"] = config

    assert "needs the class Mine>Sharpen of the user's own" in refusal(change(keras2_file, plant))
