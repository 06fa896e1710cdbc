"""Layers and files of users' models: nested, in mixed precision, of Keras 2, with weights that are not finite."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from braintumor.errors import ModelError
from braintumor.export.member import build_member
from braintumor.export.options import Target
from braintumor.export.stages import ModelStages

from .conftest import Export, Refusal, save, scaled, tail

pytestmark = pytest.mark.usefixtures("keras_in_process")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_build_member_refuses_weights_that_are_not_finite(refusal: Refusal, tmp_path: Path, value: float):
    import keras

    path = save(tmp_path, lambda x: tail(scaled(x)))
    model = keras.saving.load_model(path)
    kernel = np.array(model.layers[2].kernel)
    # A convolution's: ReLU and pooling may swallow its NaN in Keras, and not in another engine.
    kernel.flat[0] = value
    model.layers[2].kernel.assign(kernel)
    model.save(path)
    message = refusal(path)
    assert "the model itself answers NaN" in message
    assert "/kernel, 1 of 4 in all" in message


def test_build_member_exports_a_sequential_around_a_backbone(export: Export, tmp_path: Path):
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(0)
    image = keras.Input((24, 24, 3))
    backbone = keras.Model(image, layers.Conv2D(8, 3, activation="relu")(scaled(image)))
    path = tmp_path / "sequential.keras"
    head = [layers.GlobalAveragePooling2D(), layers.Dropout(0.5), layers.Dense(4, activation="softmax")]
    keras.Sequential([keras.Input((24, 24, 3)), backbone, *head]).save(path)
    assert export(path)["channels"] == 3


def test_build_member_exports_a_model_nested_in_a_model(export: Export, tmp_path: Path):
    import keras

    inner_image = keras.Input((24, 24, 1))
    inner = keras.Model(inner_image, keras.layers.Conv2D(8, 3, activation="relu")(scaled(inner_image)))
    assert not export(save(tmp_path, lambda x: tail(inner(x))))["softmax_added"]


def test_build_member_refuses_a_sequential_that_was_never_built(refusal: Refusal, tmp_path: Path):
    import keras

    path = tmp_path / "unbuilt.keras"
    with pytest.warns(UserWarning, match="has not yet been built"):
        keras.Sequential([keras.layers.Dense(4, activation="softmax")]).save(path)
    assert "saved before it was built" in refusal(path)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_build_member_computes_a_mixed_precision_model_in_float32(export: Export, tmp_path: Path, policy: str):
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = save(tmp_path, lambda x: tail(scaled(x)))
    finally:
        keras.config.set_dtype_policy(before)
    facts = export(model)
    assert facts["policy"] == policy
    assert facts["reference"].probabilities.sum(axis=1) == pytest.approx(1, abs=1e-6)


def test_build_member_refuses_weights_in_half_precision(refusal: Refusal, tmp_path: Path):
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float16")
    try:
        model = save(tmp_path, lambda x: tail(scaled(x)))
    finally:
        keras.config.set_dtype_policy(before)
    assert "keeps its weights in float16" in refusal(model)


def test_build_member_ignores_a_custom_loss(export: Export, tmp_path: Path):
    import keras

    path = save(tmp_path, lambda x: tail(scaled(x)))
    model = keras.saving.load_model(path)

    def focal(truth: Any, guess: Any) -> Any:
        return keras.ops.mean((truth - guess) ** 2)

    model.compile("adam", loss=focal)
    model.save(path)
    assert export(path)["height"] == 24


def test_build_member_exports_a_file_of_keras_2_unverified(tmp_path: Path, stages_of: Callable[..., ModelStages]):
    model = Path(__file__).parents[1] / "from_keras" / "data" / "keras2.h5"
    build_member(tmp_path, stages_of(model), Target("fp32"))
    parity = json.loads((tmp_path / "figures.json").read_text())["parity"]
    assert not parity["against_keras"]
    assert parity["missing"].startswith("saved by Keras 2.21.0, keras2.h5 does not load in Keras 3.")


def test_build_member_names_a_layer_that_neither_route_knows(tmp_path: Path, stages_of: Callable[..., ModelStages]):
    model = tmp_path / "odd.h5"
    shutil.copy(Path(__file__).parents[1] / "from_keras" / "data" / "keras2.h5", model)
    with h5py.File(model, "r+") as file:
        config = file.attrs["model_config"].replace('"SeparableConv2D"', '"TFOpLambda"')
        file.attrs["model_config"] = config
    with pytest.raises(
        ModelError, match=r"\(of Keras 2\.21\.0\).*'back/sep' \(TFOpLambda\).*does not load in Keras 3"
    ):
        build_member(tmp_path, stages_of(model), Target("fp32"))
