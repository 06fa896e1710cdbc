"""The catalog against the networks that Keras really builds."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braintumor.errors import UnavailableError, UsageError
from braintumor.models.build import IMAGENET_MEAN, IMAGENET_STD, build_classifier
from braintumor.models.catalog import CATALOG, model_spec
from braintumor.models.spec import PREPROCESSES

DENSENET = CATALOG["DenseNet121"]


def multiply_accumulates(model: Any) -> int:
    """Of one image, counted layer by layer: convolutions and dense layers."""
    total = 0
    for layer in model.layers:
        kind = type(layer).__name__
        if kind in {"Conv2D", "DepthwiseConv2D"}:
            _, height, width, _ = layer.output.shape
            total += height * width * int(np.prod(layer.kernel.shape))
        elif kind == "Dense":
            total += int(np.prod(layer.kernel.shape))
        else:
            assert "Conv" not in kind, kind
    return total


@pytest.mark.parametrize(
    "name",
    [name if name == "DenseNet121" else pytest.param(name, marks=pytest.mark.slow) for name in CATALOG],
)
def test_catalog_matches_what_keras_builds(name: str):
    import keras

    spec = model_spec(name)
    keras.backend.clear_session()
    model = build_classifier(spec, weights=None)
    assert model.count_params() == spec.parameters
    assert multiply_accumulates(model) / 1e9 == pytest.approx(spec.gmacs, abs=0.005)
    assert (model.input_shape, model.output_shape) == ((None, spec.height, spec.width, 1), (None, 4))


def test_catalog_is_complete_and_read_only():
    assert set(CATALOG) == {"EfficientNetV2M", "DenseNet121", "InceptionResNetV2", "EfficientNetV2S"}
    assert all(CATALOG[name].name == name for name in CATALOG)
    assert all(spec.preprocess in PREPROCESSES for spec in CATALOG.values())
    assert all("arXiv:" in spec.paper for spec in CATALOG.values())
    with pytest.raises(TypeError):
        CATALOG["mine"] = DENSENET  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        DENSENET.height = 1  # type: ignore[misc]


def test_model_spec_refuses_an_unknown_backbone():
    with pytest.raises(UsageError, match=r"'ResNet50'; the catalog has EfficientNetV2M, DenseNet121"):
        model_spec("ResNet50")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"height": 31}, ">= 32x32, got 31x224"),
        ({"width": 16}, "got 224x16"),
        ({"height": -5}, "got -5x224"),
        ({"height": 0}, "got 0x224"),
        ({"channels": 2}, "channels .* got 2"),
        ({"dropout": 1.0}, "dropout.*got 1.0"),
        ({"dropout": -0.1}, "dropout.*got -0.1"),
        ({"dropout": float("nan")}, "dropout.*got nan"),
    ],
)
def test_build_classifier_refuses_options_out_of_range(options: dict[str, Any], words: str):
    with pytest.raises(UsageError, match=words):
        build_classifier(DENSENET, weights=None, **options)


@pytest.fixture(scope="module")
def grey() -> Any:
    import keras

    keras.utils.set_random_seed(3)
    return build_classifier(DENSENET, height=32, width=40, weights=None, dropout=0.5)


IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 40, 1)).astype(np.float32)


def test_build_classifier_gives_probabilities_for_grey(grey: Any):
    answers = np.asarray(grey(IMAGES))
    assert (answers.shape, answers.dtype) == ((3, 4), np.float32)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-6)


def test_build_classifier_in_colour_equals_grey_for_grey_pixels(grey: Any):
    colour = build_classifier(DENSENET, height=32, width=40, channels=3, weights=None)
    colour.set_weights(grey.get_weights())
    np.testing.assert_allclose(np.asarray(colour(np.repeat(IMAGES, 3, axis=-1))), np.asarray(grey(IMAGES)), atol=1e-6)


def test_build_classifier_loads_weights_of_a_file(grey: Any, tmp_path: Path):
    path = tmp_path / "mine.weights.h5"
    grey.save_weights(path)
    again = build_classifier(DENSENET, height=32, width=40, weights=path)
    np.testing.assert_array_equal(np.asarray(again(IMAGES)), np.asarray(grey(IMAGES)))


@pytest.mark.parametrize("name", ["gone.weights.h5", "text.weights.h5", "text.txt"])
def test_build_classifier_refuses_unreadable_weights(tmp_path: Path, name: str):
    if name.startswith("text"):
        (tmp_path / name).write_text("no weights")
    with pytest.raises(UsageError, match=f"{name} holds no weights of this DenseNet121"):
        build_classifier(DENSENET, height=32, width=32, weights=tmp_path / name)


@pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")
def test_build_classifier_refuses_weights_of_another_network(tmp_path: Path):
    import keras

    path = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)]).save_weights(path)
    with pytest.raises(UsageError, match="holds no weights of this DenseNet121"):
        build_classifier(DENSENET, height=32, width=32, weights=path)


@pytest.mark.parametrize("name", ["DenseNet121", "InceptionResNetV2"])
def test_build_classifier_scales_as_the_imagenet_weights_expect(name: str, scaled_pixels: Callable[[Any], Any]):
    spec = model_spec(name)
    levels = np.linspace(0, 255, 75 * 75, dtype=np.float32).reshape(1, 75, 75, 1)
    pixels = scaled_pixels(build_classifier(spec, height=75, width=75, weights=None))(levels)
    colour = np.repeat(levels, 3, axis=-1)
    expected = colour / 127.5 - 1 if spec.preprocess == "tf" else (colour / 255 - IMAGENET_MEAN) / IMAGENET_STD
    np.testing.assert_allclose(pixels, expected, atol=1e-5)


def test_build_classifier_scales_to_0_and_1(scaled_pixels: Callable[[Any], Any]):
    spec = dataclasses.replace(DENSENET, preprocess="unit")
    levels = np.linspace(0, 255, 32 * 32, dtype=np.float32).reshape(1, 32, 32, 1)
    pixels = scaled_pixels(build_classifier(spec, height=32, width=32, weights=None))(levels)
    np.testing.assert_allclose(pixels, np.repeat(levels, 3, axis=-1) / 255, atol=1e-6)


@pytest.fixture
def scaled_pixels() -> Callable[[Any], Any]:
    import keras

    return lambda model: keras.Model(model.input, model.get_layer("scale").output)


def test_build_classifier_refuses_weights_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch):
    import keras

    def offline(**_: Any) -> None:
        raise Exception("URL fetch failure on https://there: no such name")  # noqa: TRY002 - as Keras does

    monkeypatch.setattr(keras.applications, "DenseNet121", offline)
    with pytest.raises(
        UnavailableError, match=r"imagenet weights of DenseNet121 cannot be fetched \(URL fetch.*~/\.keras"
    ):
        build_classifier(DENSENET)
    with pytest.raises(Exception, match="URL fetch") as raised:
        build_classifier(DENSENET, weights=None)
    assert type(raised.value) is Exception
