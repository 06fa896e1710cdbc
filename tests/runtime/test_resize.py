"""Sizes and arrays: `resize` against Pillow and TensorFlow, `grey_from_array`."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from braintumor.errors import InputError, UsageError
from braintumor.runtime.image import RESIZES, Resize, grey_from_array, resize

LEVELS = np.random.default_rng(7).integers(0, 256, (24, 20), dtype=np.uint8)
GREY = Image.fromarray(LEVELS)
COLOUR = Image.fromarray(np.random.default_rng(8).integers(0, 256, (24, 20, 3), dtype=np.uint8))
WIDE = (LEVELS.astype(np.uint16) * 13 + 400).astype(np.uint16)
LUMA = np.asarray(COLOUR.convert("L"))


def test_grey_from_array_takes_grey_and_colour() -> None:
    assert grey_from_array(LEVELS) is LEVELS
    assert np.array_equal(grey_from_array(np.asarray(COLOUR)), LUMA)
    turned = grey_from_array(LEVELS.T)
    assert np.array_equal(turned, LEVELS.T)
    assert turned.flags.c_contiguous


@pytest.mark.parametrize(
    "array",
    [
        WIDE,
        LEVELS / 255,
        LEVELS[0],
        LEVELS[None],
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4), np.uint8),
        [[1]],
    ],
    ids=["uint16", "float", "1-D", "leading axis", "RGBA", "empty", "list"],
)
def test_grey_from_array_refuses_the_rest(array: Any) -> None:
    with pytest.raises(InputError, match=r"uint8 \[H, W\]"):
        grey_from_array(array)


@pytest.mark.parametrize("method", RESIZES)
def test_an_image_that_has_the_size_is_returned_unchanged(method: Resize) -> None:
    assert resize(LEVELS, 24, 20, method) is LEVELS


def test_antialias_is_pillows_bilinear() -> None:
    expected = GREY.resize((9, 11), Image.Resampling.BILINEAR)
    assert np.array_equal(resize(LEVELS, 11, 9), np.asarray(expected))


SIZES = [
    ((24, 20), (11, 9)),
    ((24, 20), (50, 61)),
    ((224, 224), (128, 128)),
    ((301, 57), (97, 150)),
    ((1, 1), (7, 5)),
]


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_tf_bilinear_is_tensorflows_own(old: tuple[int, int], new: tuple[int, int]) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    pixels = np.random.default_rng(1).integers(0, 256, old, dtype=np.uint8)
    tensor = tensorflow.image.resize(pixels[..., None], new, method="bilinear", antialias=False)
    exact = tensor.numpy()[..., 0]
    found = resize(pixels, new[0], new[1], "tf-bilinear")
    assert found.dtype == np.uint8
    assert np.abs(found - exact).max() <= 0.5 + 1e-3
    assert np.array_equal(found, np.rint(exact).astype(np.uint8))


def test_the_two_methods_differ_where_they_should() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 64))
    assert np.ptp(resize(stripes, 30, 30, "antialias").astype(int)) < 80
    assert np.ptp(resize(stripes, 30, 30, "tf-bilinear").astype(int)) > 200


def test_resize_refuses_what_it_does_not_know() -> None:
    with pytest.raises(UsageError, match="antialias and tf-bilinear"):
        resize(LEVELS, 8, 8, "nearest")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at least 1 pixel"):
        resize(LEVELS, 0, 8)
