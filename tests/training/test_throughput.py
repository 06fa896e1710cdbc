"""The script that shows how busy training keeps the device."""

import keras
import pytest

from braintumor.training.fit.throughput import keras_augmentation, measure
from braintumor.training.recipe import Recipe

_RECIPE = Recipe("DenseNet121", sizes=(32,), batch_size=8)


@pytest.mark.usefixtures("small_network")
def test_measure_gives_bare_and_fed_steps() -> None:
    figures = measure(_RECIPE, 6)
    assert figures["bare_images_per_s"] > 0
    assert 0 < figures["ratio_min"] <= figures["ratio_median"]
    assert figures["augmentation_images_per_s"] > 100


def test_keras_augmentation_is_measured() -> None:
    assert keras.backend.backend()
    assert keras_augmentation(_RECIPE) > 1
