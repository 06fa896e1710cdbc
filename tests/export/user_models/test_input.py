"""Inputs of users' models: sizes, channels, types; and the images of the verification."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from braintumor.bench.data.phantoms import phantoms

from .conftest import Export, Keras, Refusal, save, scaled, tail

pytestmark = pytest.mark.usefixtures("keras_in_process")


@pytest.mark.parametrize("channels", [1, 3])
def test_build_member_exports_grey_and_colour_models(export: Export, small_keras: Keras, channels: int):
    facts = export(small_keras(channels=channels))
    assert (facts["height"], facts["width"], facts["channels"]) == (32, 32, channels)
    assert (facts["preprocess"], facts["softmax_added"], facts["policy"]) == ("none", False, "float32")
    assert facts["architecture"] == "small"


def test_build_member_gives_a_model_of_any_size_the_chosen_one(export: Export, small_keras: Keras):
    facts = export(small_keras(size=(None, None)), size=(40, 36))
    assert (facts["height"], facts["width"]) == (40, 36)


def test_build_member_needs_a_size_for_a_model_of_any_size(refusal: Refusal, small_keras: Keras):
    assert "`size='224x224'`" in refusal(small_keras(size=(None, None)))


def test_build_member_accepts_the_size_that_the_model_has(export: Export, small_keras: Keras):
    assert export(small_keras(), size=(32, 32))["height"] == 32


def test_build_member_refuses_a_size_that_does_not_fit(refusal: Refusal, small_keras: Keras):
    assert "takes 32x32 pixels, not 64x64" in refusal(small_keras(), size=(64, 64))


def test_build_member_sizes_a_model_with_one_free_side(export: Export, tmp_path: Path):
    model = save(tmp_path, lambda x: tail(scaled(x)), (None, 24, 1))
    assert export(model, size=(30, 24))["height"] == 30


def test_build_member_refuses_two_inputs(refusal: Refusal, tmp_path: Path):
    import keras

    images = [keras.Input((24, 24, 1)), keras.Input((24, 24, 1))]
    path = tmp_path / "two.keras"
    keras.Model(images, tail(scaled(keras.layers.Concatenate()(images)))).save(path)
    assert "the model takes (None, 24, 24, 1), (None, 24, 24, 1)" in refusal(path)


def test_build_member_refuses_a_model_of_tables(refusal: Refusal, tmp_path: Path):
    import keras

    model = save(tmp_path, keras.layers.Dense(4, activation="softmax"), (30,))
    assert "the model takes (None, 30)" in refusal(model)


@pytest.mark.parametrize("shape", [(1, 24, 24), (3, 24, 24), (24, 24, 4)])
def test_build_member_refuses_channels_first_and_other_channel_counts(
    refusal: Refusal, tmp_path: Path, shape: tuple[int, ...]
):
    import keras

    model = save(tmp_path, lambda x: keras.layers.Dense(4, activation="softmax")(keras.layers.Flatten()(x)), shape)
    assert f"its input must be one image [batch, height, width, 1 or 3]; the model takes {shape}" in (refusal(model))


@pytest.mark.parametrize("dtype", ["float16", "uint8", "int32"])
def test_build_member_exports_inputs_of_other_types(export: Export, tmp_path: Path, dtype: str):
    assert export(save(tmp_path, lambda x: tail(scaled(x)), dtype=dtype))["preprocess"] == "none"


def test_build_member_refuses_an_input_smaller_than_a_phantom(refusal: Refusal, tmp_path: Path):
    model = save(tmp_path, lambda x: tail(scaled(x)), (8, 8, 1))
    assert "8 x 8" in refusal(model)


@pytest.mark.parametrize("method", ["antialias", "tf-bilinear", "nearest"])
def test_build_member_verifies_on_the_given_images(export: Export, small_keras: Keras, tmp_path: Path, method: Any):
    from braintumor.runtime.image.decode import read_grey, resize

    paths = []
    for index, pixels in enumerate(phantoms(64, 90, 70, seed=5)):
        paths.append(str(tmp_path / f"{index}.png"))
        Image.fromarray(pixels).save(paths[-1])
    reference = export(small_keras(), images=paths, resize=method)["reference"]
    expected = [resize(read_grey(path).pixels, 32, 32, method) for path in paths]
    np.testing.assert_array_equal(reference.images, expected)


def test_build_member_names_an_unreadable_image(refusal: Refusal, small_keras: Keras, tmp_path: Path):
    bad = tmp_path / "torn.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "torn.png" in refusal(small_keras(), images=[str(bad)])
