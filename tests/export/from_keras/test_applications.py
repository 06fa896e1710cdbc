"""Every family of keras.applications through the direct writer, beside Keras, with random weights.

The table of docs/keras-applications.md is written with BRAINTUMOR_UPDATE_TABLES=1.
"""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from braintumor.export.from_keras import ConvertedModel
from tests.support.paths import ROOT

DOCUMENT = ROOT / "docs" / "keras-applications.md"
SIZES = (64, 224) if os.environ.get("BRAINTUMOR_UPDATE_TABLES") else (64,)

FAMILIES = (
    "ConvNeXtTiny",
    "DenseNet121",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "EfficientNetV2S",
    "InceptionResNetV2",
    "InceptionV3",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Large",
    "MobileNetV3Small",
    "NASNetMobile",
    "ResNet50",
    "ResNet50V2",
    "VGG16",
    "Xception",
)
"""One network a family: the larger ones repeat its layers."""

SMALLEST = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}
"""Pixels a side below which Keras refuses the network."""

ROWS: list[str] = []

_TOLERANCE = 1e-6
_COARSE = 2e-5
"""Marks a size whose rounding was not measured."""

_FACTOR = 10
"""Factor by which the written graph may be farther from float64 than Keras in float32: both have random errors."""

_LEAST_SPREAD = 0.01
"""By how much probabilities differ from image to image at least: else the comparison would say nothing."""


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """Writes what was measured, where it is asked for."""
    yield
    if os.environ.get("BRAINTUMOR_UPDATE_TABLES") and ROWS:
        head = [
            "# keras.applications through the direct writer",
            "",
            "One network a family, random weights, four classes, RGB 0..255: largest difference of a probability,",
            "over phantoms and noise, between the written graph (ONNX Runtime), Keras in float32 and in float64.",
            "Where random networks amplify rounding, Keras in float32 is as far from float64 as our graph.",
            "Measured on an AVX-512 CPU by `tests/export/from_keras/test_applications.py`.",
            "",
            "| network | pixels | nodes | seconds | spread | beside Keras | beside float64 | Keras beside float64 |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        DOCUMENT.write_text("\n".join([*head, *ROWS]) + "\n", encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_write_network_answers_as_keras_for_every_family(written: Callable[..., ConvertedModel], family: str) -> None:
    import keras

    from .conftest import onnx_answers, pixels

    rounding = 0.0
    for size in (max(size, SMALLEST.get(family, 0)) for size in SIZES):
        keras.backend.clear_session()
        model = _classifier(keras, family, size)
        start = time.perf_counter()
        converted = written(model)
        seconds = time.perf_counter() - start
        images = pixels(converted, 4)
        theirs, ours = model.predict(images, verbose=0), onnx_answers(converted, images)
        beside, spread = float(np.abs(ours - theirs).max()), float(np.ptp(theirs, axis=0).max())
        row = (
            f"| {family} | {size} | {len(converted.model.graph.node)} | {seconds:.1f} | {spread:.2f} | {beside:.1e} |"
        )
        if size == max(SIZES[0], SMALLEST.get(family, 0)):
            # In double precision a large map takes minutes; rounding is that of the small one.
            truth = _in_double(keras, model, images)
            ours_off, rounding = (float(np.abs(result - truth).max()) for result in (ours, theirs))
            row += f" {ours_off:.1e} | {rounding:.1e} |"
            assert ours_off <= max(_TOLERANCE, _FACTOR * rounding), (family, size)
        else:
            row += " | |"
        ROWS.append(row)
        assert spread > _LEAST_SPREAD
        assert beside <= max(_COARSE, _FACTOR * rounding), (family, size)


def _classifier(keras: Any, family: str, size: int) -> Any:
    """A network with the statistics of its own random features, and a head that tells images apart.

    Random networks amplify rounding errors, more so than trained ones: the head scales all features by one factor.
    """
    keras.utils.set_random_seed(3)
    backbone = getattr(keras.applications, family)(include_top=False, weights=None, input_shape=(size, size, 3))
    pool = keras.layers.GlobalAveragePooling2D()(backbone.output)
    probe = keras.Model(backbone.input, pool)
    brightness = np.linspace(0.2, 1, 8, dtype=np.float32)[:, None, None, None]
    images = np.random.default_rng(0).uniform(0, 255, (8, size, size, 3)).astype(np.float32) * brightness
    for layer in probe.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # moving statistics become those of the batch
    probe(images, training=True)
    scale = float(0.3 / np.std(probe.predict(images, verbose=0)))
    output = keras.layers.Dense(4, activation="softmax")(keras.layers.Rescaling(scale)(pool))
    return keras.Model(backbone.input, output, name=family)


def _in_double(keras: Any, model: Any, images: Any) -> Any:
    """Answers of the network in float64, the truth for float32."""
    text = model.to_json()
    double = keras.models.model_from_json(text.replace('"float32"', '"float64"'))
    double.set_weights(model.get_weights())
    return double.predict(images.astype(np.float64), verbose=0)
