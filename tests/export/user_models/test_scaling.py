"""Scaling of the pixels, inside or outside of users' models."""

from pathlib import Path

import numpy as np
import pytest

from braintumor.models.spec import PREPROCESSES

from .conftest import Export, Keras, Refusal, save, scaled, tail

pytestmark = pytest.mark.usefixtures("keras_in_process")


def test_build_member_names_the_scalings_for_a_model_without_one(refusal: Refusal, small_keras: Keras):
    message = refusal(small_keras(scaling=False))
    assert all(f"{mode} (" in message for mode in PREPROCESSES)
    assert "the scaling is wrong: try another" in message
    assert "bt-bench accuracy" in message


@pytest.mark.parametrize(
    ("channels", "mode"), [(1, "unit"), (1, "tf"), *((3, mode) for mode in PREPROCESSES if mode != "none")]
)
def test_build_member_scales_as_keras_does(export: Export, small_keras: Keras, channels: int, mode: str):
    facts = export(small_keras(scaling=False, channels=channels), preprocess=mode)
    assert facts["preprocess"] == mode


def test_build_member_accepts_preprocess_none_for_scaling_inside(export: Export, small_keras: Keras):
    assert export(small_keras(), preprocess="none")["preprocess"] == "none"


@pytest.mark.parametrize("mode", ["torch", "caffe"])
def test_build_member_refuses_scaling_of_three_colours_for_one_grey_channel(
    refusal: Refusal, small_keras: Keras, mode: str
):
    assert f"`preprocess='{mode}'` scales three" in refusal(small_keras(scaling=False), preprocess=mode)


@pytest.mark.parametrize("first", ["Rescaling", "BatchNormalization", "Normalization"])
def test_build_member_names_the_layer_that_scales(export: Export, tmp_path: Path, first: str):
    import keras

    options = {"Rescaling": (1 / 255,), "Normalization": (-1, [100.0], [2500.0])}.get(first, ())
    model = save(tmp_path, lambda x: tail(getattr(keras.layers, first)(*options, name="first")(x)))
    assert export(model)["scaled_by"] == "first"


@pytest.mark.parametrize("mode", ["unit", "tf"])
def test_build_member_refuses_scaling_of_whole_numbers(refusal: Refusal, tmp_path: Path, mode: str):
    model = save(tmp_path, lambda x: tail(scaled(x)), dtype="uint8")
    assert "takes uint8 pixels" in refusal(model, preprocess=mode)


def test_build_member_scales_to_0_to_1_as_its_user_does(export: Export, small_keras: Keras):
    import keras

    path = small_keras(scaling=False)
    reference = export(path, preprocess="unit")["reference"]
    pixels = reference.images[..., np.newaxis] / np.float32(255)
    by_hand = keras.saving.load_model(path).predict(pixels, verbose=0)
    np.testing.assert_allclose(reference.probabilities, by_hand, atol=1e-6)


@pytest.mark.parametrize("mode", ["mobilenet_v2", "densenet", "resnet50"])
def test_build_member_recognises_preprocess_input_inside_the_model(export: Export, tmp_path: Path, mode: str):
    import keras

    preprocess_input = getattr(keras.applications, mode).preprocess_input
    assert export(save(tmp_path, lambda x: tail(preprocess_input(x)), (24, 24, 3)))["preprocess"] == "none"


def test_build_member_keeps_the_constants_of_a_normalization_layer(export: Export, tmp_path: Path):
    import keras

    normalize = keras.layers.Normalization(mean=[120.0, 115.0, 100.0], variance=[3400.0, 3200.0, 3300.0])
    assert export(save(tmp_path, lambda x: tail(normalize(x)), (24, 24, 3)))["preprocess"] == "none"


def test_build_member_recognises_scaling_by_arithmetic(export: Export, tmp_path: Path):
    assert export(save(tmp_path, lambda x: tail(x / 127.5 - 1)))["preprocess"] == "none"
