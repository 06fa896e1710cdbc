"""The script that shows how busy training keeps the device."""

import keras
import pytest

from braintumor.training.fit.throughput import keras_augmentation, measure
from braintumor.training.recipe import Recipe

_RECIPE = Recipe("DenseNet121", sizes=(32,), batch_size=8)


@pytest.mark.usefixtures("small_network")
def test_bare_and_fed_steps_are_measured() -> None:
    found = measure(_RECIPE, 6)
    assert found["bare_images_per_s"] > 0
    assert 0 < found["ratio_min"] <= found["ratio_median"]
    assert found["augmentation_images_per_s"] > 100


def test_the_layers_of_keras_are_measured_too() -> None:
    assert keras.backend.backend()
    assert keras_augmentation(_RECIPE) > 1
