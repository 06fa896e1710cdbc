"""The generated heads: deterministic, varied, and shaped like a head."""

import numpy as np
import pytest

from braintumor.bench.data.phantoms import phantoms
from braintumor.errors import UsageError


def test_phantoms_shape_and_dtype() -> None:
    images = phantoms(3, 40, 56)
    assert images.shape == (3, 40, 56)
    assert images.dtype == np.uint8
    assert phantoms(0, 40, 56).shape == (0, 40, 56)


def test_phantoms_depend_on_seed_and_index_only() -> None:
    assert np.array_equal(phantoms(5, 64, 64, seed=3)[:2], phantoms(2, 64, 64, seed=3))
    assert not np.array_equal(phantoms(2, 64, 64, seed=3), phantoms(2, 64, 64, seed=4))


def test_phantoms_are_all_different() -> None:
    images = phantoms(12, 64, 64).reshape(12, -1).astype(float)
    likeness = np.corrcoef(images) - np.eye(12)
    assert likeness.max() < 0.97


def test_phantoms_are_bright_inside_and_dark_in_corners() -> None:
    for head in phantoms(16, 96, 96, seed=1).astype(float):
        corners = np.concatenate([head[:6, :6], head[:6, -6:], head[-6:, :6], head[-6:, -6:]])
        assert corners.mean() < 20
        assert head[24:72, 24:72].mean() > 3 * max(corners.mean(), 5)


def test_phantoms_grey_levels_are_pinned() -> None:
    # A change of the drawing changes every figure that was measured on phantoms: it must be meant.
    means = phantoms(4, 64, 64).mean(axis=(1, 2))
    assert means == pytest.approx([26.87, 14.71, 17.62, 38.68], abs=0.05)


@pytest.mark.parametrize("arguments", [(-1, 64, 64), (1, 15, 64), (1, 64, 15)])
def test_phantoms_refuse_bad_arguments(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match="at least"):
        phantoms(*arguments)
    with pytest.raises(UsageError, match="at least 0"):
        phantoms(1, 64, 64, seed=-1)
