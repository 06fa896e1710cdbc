"""Sizes and arrays: `resize` against Pillow and TensorFlow, `grey_from_array`."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from braintumor.errors import InputError, UsageError
from braintumor.runtime.image.decode import RESIZES, Resize, grey_from_array, resize

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
def test_grey_from_array_refuses_other_arrays(array: Any) -> None:
    with pytest.raises(InputError, match=r"uint8 \[H, W\]"):
        grey_from_array(array)


@pytest.mark.parametrize("method", RESIZES)
def test_resize_returns_an_image_of_that_size_unchanged(method: Resize) -> None:
    assert resize(LEVELS, 24, 20, method) is LEVELS


@pytest.mark.parametrize("method", [None, "bilinear", "bicubic", "nearest"])
def test_resize_by_pillow_equals_load_img(method: Resize | None, tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    GREY.save(tmp_path / "grey.png")
    for height, width in ((11, 9), (50, 61), (24, 7)):
        shown = keras.utils.load_img(
            tmp_path / "grey.png", "grayscale", target_size=(height, width), interpolation=method or "bilinear"
        )
        resized = resize(LEVELS, height, width, *([method] if method else []))
        assert np.array_equal(resized, np.asarray(shown))


SIZES = [
    ((24, 20), (11, 9)),
    ((24, 20), (50, 61)),
    ((224, 224), (128, 128)),
    ((301, 57), (97, 150)),
    ((1, 1), (7, 5)),
]


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_resize_by_tf_bilinear_equals_tensorflow(old: tuple[int, int], new: tuple[int, int]) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    pixels = np.random.default_rng(1).integers(0, 256, old, dtype=np.uint8)
    tensor = tensorflow.image.resize(pixels[..., None], new, method="bilinear", antialias=False)
    exact = tensor.numpy()[..., 0]
    resized = resize(pixels, new[0], new[1], "tf-bilinear")
    assert resized.dtype == np.uint8
    assert np.abs(resized - exact).max() <= 0.5 + 1e-3
    assert np.array_equal(resized, np.rint(exact).astype(np.uint8))


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_resize_by_nearest_equals_tensorflow_but_for_centres_on_an_edge(
    old: tuple[int, int], new: tuple[int, int]
) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    pixels = np.random.default_rng(1).integers(0, 256, old, dtype=np.uint8)
    expected = tensorflow.image.resize(pixels[..., None], new, method="nearest").numpy()[..., 0]
    # (2 i + 1) old / (2 new) is whole where the centre of pixel i lies between two pixels.
    rows, columns = (
        (2 * np.arange(new_size) + 1) * size % (2 * new_size) != 0 for size, new_size in zip(old, new, strict=True)
    )
    assert np.array_equal(resize(pixels, *new, "nearest")[rows][:, columns], expected[rows][:, columns])
    assert rows.sum() > 0.8 * len(rows)


def test_resize_methods_differ() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 64))
    assert np.ptp(resize(stripes, 30, 30, "antialias").astype(int)) < 80
    assert np.ptp(resize(stripes, 30, 30, "tf-bilinear").astype(int)) > 200


def test_resize_refuses_unknown_methods_and_sizes() -> None:
    with pytest.raises(UsageError, match="antialias, tf-bilinear, nearest"):
        resize(LEVELS, 8, 8, "lanczos")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at least 1 pixel"):
        resize(LEVELS, 0, 8)
