"""The crop to the head."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braintumor.bench.data.phantoms import phantoms
from braintumor.errors import InputError
from braintumor.runtime.image.geometry import Geometry, apply_geometry
from braintumor.runtime.image.head import crop_to_head, padded_to_square
from braintumor.runtime.image.resize import resize


def _ellipse(height: int, width: int) -> np.ndarray:
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.where(y * y + x * x <= 1, 180, 0).astype(np.uint8)


@pytest.mark.parametrize(("above", "left", "below", "right"), [(0, 0, 0, 0), (40, 10, 7, 90), (3, 64, 3, 0)])
def test_crop_to_head_does_not_depend_on_the_border(above: int, left: int, below: int, right: int) -> None:
    head = _ellipse(120, 100)
    framed = np.pad(head, ((above, below), (left, right)))
    cropped = crop_to_head(framed)
    assert np.array_equal(cropped, crop_to_head(head))
    assert cropped.shape[0] == cropped.shape[1]
    assert abs(cropped.shape[0] - 120) <= 6


def test_crop_to_head_keeps_the_proportions() -> None:
    cropped = crop_to_head(np.pad(_ellipse(120, 60), 30))
    bright = cropped > 0
    assert 1.8 < np.flatnonzero(bright.any(axis=1)).size / np.flatnonzero(bright.any(axis=0)).size < 2.2


def test_crop_to_head_is_not_misled_by_a_hot_pixel_or_printed_text() -> None:
    image = np.pad(_ellipse(100, 100) // 3, 40)
    marked = image.copy()
    marked[2, 2] = 255
    marked[170:174, 5:9] = 255
    assert np.array_equal(crop_to_head(marked), crop_to_head(image))


@pytest.mark.parametrize("level", [0, 7, 255])
def test_crop_to_head_of_a_constant_image_only_pads(level: int) -> None:
    assert crop_to_head(np.full((20, 30), level, np.uint8)).shape == (30, 30)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32))
def test_crop_to_head_gives_a_square(height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    cropped = crop_to_head(image)
    assert cropped.dtype == np.uint8
    assert cropped.shape[0] == cropped.shape[1] >= 1


def test_apply_geometry_crops_before_it_resizes() -> None:
    image = np.pad(phantoms(1, 90, 90)[0], ((10, 30), (0, 0)))
    assert np.array_equal(apply_geometry(image, Geometry(32, 32)), resize(image, 32, 32))
    assert np.array_equal(apply_geometry(image, Geometry(32, 32, crop="head")), resize(crop_to_head(image), 32, 32))


def test_padded_to_square_refuses_what_is_too_narrow() -> None:
    with pytest.raises(InputError, match="60,000"):
        padded_to_square(np.zeros((2, 60_000), np.uint8))
