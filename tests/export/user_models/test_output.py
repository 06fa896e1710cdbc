"""Outputs of users' models: classes, probabilities, logits, one unit; anything else is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import Export, Keras, Refusal, save, scaled, tail

pytestmark = pytest.mark.usefixtures("keras_in_process")


def small_logits(x: Any, **options: Any) -> Any:
    """Logits that stay in 0..1, as those of a weak model may."""
    import keras

    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3, strides=2, activation="relu")(x))
    return keras.layers.Dense(
        4, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(0.4), **options
    )(x)


@pytest.mark.parametrize("classes", [3, 10])
def test_build_member_refuses_another_number_of_classes_than_named(
    refusal: Refusal, small_keras: Keras, classes: int
):
    assert f"gives {classes} values an image, and `classes` lists 4" in refusal(small_keras(classes=classes))


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("head", ["softmax", "logits"])
def test_build_member_exports_any_number_of_classes(export: Export, small_keras: Keras, classes: int, head: str):
    names = tuple(f"c{number}" for number in range(classes))
    facts = export(small_keras(classes=classes, head=head), classes=names)
    assert facts["reference"].probabilities.shape == (64, classes)
    assert len(facts["probe"]["probabilities"][0]) == classes


@pytest.mark.parametrize("activation", ["sigmoid", None])
@pytest.mark.parametrize("order", [("healthy", "glioma"), ("glioma", "healthy")])
def test_build_member_takes_one_unit_for_the_second_of_two_classes(
    export: Export, tmp_path: Path, activation: str | None, order: tuple[str, str]
):
    import keras

    path = save(tmp_path, lambda x: tail(scaled(x), units=1, activation=activation))
    facts = export(path, classes=("healthy", "glioma"), order=order)
    assert facts["softmax_added"] is (activation is None)
    outputs = np.asarray(keras.saving.load_model(path)(facts["reference"].images[..., np.newaxis].astype(np.float32)))
    if activation is None:
        outputs = 1 / (1 + np.exp(-outputs))
    np.testing.assert_allclose(facts["reference"].probabilities[:, order.index("glioma")], outputs[:, 0], atol=1e-6)
    np.testing.assert_allclose(facts["reference"].probabilities.sum(axis=1), 1, atol=1e-6)


def test_build_member_refuses_one_unit_of_another_kind(refusal: Refusal, tmp_path: Path):
    model = save(tmp_path, lambda x: tail(scaled(x), units=1, activation="relu"))
    assert "neither a sigmoid nor linear but relu" in refusal(model, classes=("healthy", "glioma"))


def test_build_member_refuses_a_regression_model(refusal: Refusal, tmp_path: Path):
    model = save(tmp_path, lambda x: tail(scaled(x), units=1, activation=None))
    message = refusal(model, classes_stated=False)
    assert "gives 1 value an image" in message
    assert "with `classes`, last the one that 1 stands for" in message


def test_build_member_refuses_a_segmentation_model(refusal: Refusal, tmp_path: Path):
    import keras

    model = save(tmp_path, lambda x: keras.layers.Conv2D(4, 1, activation="softmax")(scaled(x)))
    assert "(None, 24, 24, 4)" in refusal(model)


def test_build_member_refuses_two_outputs(refusal: Refusal, tmp_path: Path):
    model = save(tmp_path, lambda x: [tail(scaled(x)), tail(scaled(x), units=2)])
    assert "it has 2 outputs, the first of shape (None, 4)" in refusal(model)


def test_build_member_refuses_a_sigmoid_head(refusal: Refusal, small_keras: Keras):
    assert "independent sigmoids" in refusal(small_keras(head="sigmoid"))


def test_build_member_adds_a_softmax_to_logits(export: Export, small_keras: Keras):
    assert export(small_keras(head="logits"))["softmax_added"]


def test_build_member_adds_a_softmax_to_logits_within_0_to_1(export: Export, tmp_path: Path):
    assert export(save(tmp_path, lambda x: small_logits(scaled(x))))["softmax_added"]


def test_build_member_adds_a_softmax_to_logits_behind_layers_that_pass_on(export: Export, tmp_path: Path):
    import keras

    layers = keras.layers
    passed = save(
        tmp_path, lambda x: layers.Activation("linear", dtype="float32")(layers.Dropout(0.1)(small_logits(scaled(x))))
    )
    assert export(passed)["softmax_added"]


def test_build_member_reads_the_last_layer_of_a_nested_model(export: Export, tmp_path: Path):
    import keras

    image = keras.Input((24, 24, 1))
    inner = keras.Model(image, small_logits(scaled(image)))
    assert export(save(tmp_path, inner))["softmax_added"]


@pytest.mark.parametrize("apart", [False, True])
def test_build_member_adds_no_softmax_to_probabilities_behind_layers_that_pass_on(
    export: Export, tmp_path: Path, apart: bool
):
    import keras

    layers = keras.layers

    def head(x: Any) -> Any:
        probabilities = layers.Softmax()(tail(scaled(x), activation=None)) if apart else tail(scaled(x))
        return layers.Activation("linear", dtype="float32")(probabilities)

    assert not export(save(tmp_path, head))["softmax_added"]


def test_build_member_refuses_sigmoids_that_sum_to_1(refusal: Refusal, tmp_path: Path):
    import keras

    def head(x: Any) -> Any:
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(scaled(x)))
        bias = keras.initializers.Constant(float(np.log(1 / 3)))
        return keras.layers.Dense(4, kernel_initializer="zeros", bias_initializer=bias, activation="sigmoid")(x)

    assert "independent sigmoids" in refusal(save(tmp_path, head))


def test_build_member_refuses_values_of_an_unknown_kind_within_0_to_1(refusal: Refusal, tmp_path: Path):
    model = save(tmp_path, lambda x: small_logits(scaled(x), activation="relu") * 0.5)
    assert "its last layer is neither a softmax nor linear" in refusal(model)


def test_build_member_refuses_a_model_that_gives_nan_in_keras(refusal: Refusal, tmp_path: Path):
    import keras

    path = save(tmp_path, lambda x: tail(scaled(x), activation=None))
    model = keras.saving.load_model(path)
    model.layers[-1].bias.assign([3e38, 0, 0, 0])
    model.layers[-1].kernel.assign(model.layers[-1].kernel * 1e38)
    model.layers[-3].kernel.assign(model.layers[-3].kernel * 1e38)
    model.save(path)
    assert "NaN or infinite outputs" in refusal(path)


def test_build_member_exports_a_named_output(export: Export, tmp_path: Path):
    assert export(save(tmp_path, lambda x: {"diagnosis": tail(scaled(x))}))["parameters"] > 0
