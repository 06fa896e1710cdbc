"""A grown network computes, in the stages that both have, what the small one computed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from braintumor.errors import ModelError, UsageError
from braintumor.training.cli import main
from braintumor.training.fit.net2net import grow, grow_file
from tests.support.paths import PRETRAINED

SIZE = 48


@pytest.fixture(scope="module")
def pair() -> tuple[Any, Any]:
    """The smallest EfficientNetV2 with statistics as after training, and one that is wider and deeper."""
    from keras import Input
    from keras.applications import EfficientNetV2B0, EfficientNetV2B2
    from keras.utils import set_random_seed

    set_random_seed(0)
    options = {"include_top": False, "weights": None, "include_preprocessing": False}
    small, large = (
        make(input_tensor=Input((SIZE, SIZE, 3)), **options) for make in (EfficientNetV2B0, EfficientNetV2B2)
    )
    rng = np.random.default_rng(0)
    for layer in small.layers:
        if hasattr(layer, "moving_variance"):
            count = layer.gamma.shape[0]
            layer.set_weights([rng.uniform(low, 1.5, count) for low in (0.5, -0.5, -0.5, 0.5)])
    return small, large


def output(network: Any, layer: str, images: np.ndarray) -> np.ndarray:
    """Output of that layer for float32 [n, SIZE, SIZE, 3]."""
    from keras import Model

    return np.asarray(Model(network.inputs[0], network.get_layer(layer).output)(images))


def test_grow_keeps_what_the_first_channels_compute(pair: tuple[Any, Any]):
    small, large = pair
    growth = grow(small, large)
    images = np.random.default_rng(1).normal(size=(2, SIZE, SIZE, 3)).astype(np.float32)
    for end in ("block3b_add", "block6h_add"):
        output_small = output(small, end, images)
        # The large one goes on in the same stage; its further blocks begin as the identity.
        last = max(layer.name for layer in large.layers if layer.name[:6] == end[:6] and layer.name.endswith("_add"))
        output_large = output(large, last, images)
        assert last > end
        assert output_large.shape[-1] > output_small.shape[-1]
        assert np.abs(output_small).max() > 0.1
        # Float32 rounding in a deep random network is relative to the largest values, which reach hundreds.
        difference = np.abs(output_large[..., : output_small.shape[-1]] - output_small).max()
        assert difference <= 1e-3 * np.abs(output_small).max()
    blocks = {name: sum(layer.name.endswith("project_bn") for layer in net.layers) for name, net in enumerate(pair)}
    assert growth.identities == blocks[1] - blocks[0]
    assert growth.embedded > 100


def test_grow_adds_channels_that_differ_from_image_to_image(pair: tuple[Any, Any]):
    small, large = pair
    grow(small, large)
    images = np.random.default_rng(2).normal(size=(2, SIZE, SIZE, 3)).astype(np.float32)
    output_large = output(large, "block3b_add", images)
    new = output_large[..., small.get_layer("block3b_add").output.shape[-1] :]
    assert new.shape[-1] > 0
    assert np.abs(new[0] - new[1]).max() > 1e-3


def test_grow_refuses_a_smaller_target(pair: tuple[Any, Any]):
    small, large = pair
    with pytest.raises(ModelError, match=r"cannot hold it; give the smaller model first"):
        grow(large, small)


def test_grow_refuses_another_family(pair: tuple[Any, Any], small: Any):
    from types import SimpleNamespace

    stranger = small.build(SimpleNamespace(name="stranger"), height=SIZE, width=SIZE)
    with pytest.raises(ModelError, match=r"stranger has no layer in common with"):
        grow(stranger, pair[1])


def test_grow_file_refuses_another_suffix_before_anything_is_read(tmp_path: Path):
    with pytest.raises(UsageError, match=r"must end in \.keras"):
        grow_file(tmp_path / "none.keras", "EfficientNetV2M", tmp_path / "grown.h5", seed=0)


@pytest.mark.slow
def test_bt_train_grow_writes_a_file_to_start_from(tmp_path: Path):
    shipped = PRETRAINED / "EfficientNetV2S.keras"
    target = tmp_path / "EfficientNetV2M.keras"
    done = CliRunner().invoke(main, ["grow", str(shipped), "--into", "EfficientNetV2M", "--to", str(target)])
    assert done.exit_code == 0, done.output
    assert "16 blocks begin as the identity" in done.output
    from keras.saving import load_model

    grown = load_model(target, compile=False)
    answers = grown.predict(np.zeros((1, *grown.input_shape[1:]), np.float32), verbose=0)
    assert answers.sum() == pytest.approx(1, abs=1e-5)
