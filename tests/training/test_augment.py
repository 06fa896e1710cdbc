"""Augmentation and the batches."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braintumor.errors import UsageError
from braintumor.training.data.augment import augment, augment_batch
from braintumor.training.data.data_loader import class_weights, epoch_batches
from braintumor.training.data.targets import ANY_TUMOUR
from braintumor.training.recipe import Augmentation

NONE = Augmentation(rotation_deg=0, zoom=0, shift=0, contrast=0, flip=False, degrade=0, erase=0)


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_augment_without_options_changes_nothing(parts: Any) -> None:
    images = parts["train"].images[:4]
    assert np.array_equal(augment_batch(images, NONE, _rng()), images)


def test_augment_with_flip_gives_the_image_or_its_mirror_image(parts: Any) -> None:
    image = parts["train"].images[0]
    versions = [augment(image, replace(NONE, flip=True), _rng(seed)) for seed in range(30)]
    same = [np.array_equal(item, image) for item in versions]
    mirrored = [np.array_equal(item, image[:, ::-1]) for item in versions]
    assert all(same_image != mirror_image for same_image, mirror_image in zip(same, mirrored, strict=True))
    assert 5 < sum(mirrored) < 25


def test_augment_with_rotation_keeps_the_centre() -> None:
    image = np.zeros((65, 65), np.uint8)
    image[31:34, 31:34] = 200
    image[30:35, 60:] = 255
    augmented = augment(image, replace(NONE, rotation_deg=45), _rng(5))
    assert augmented[32, 32] == 200
    assert not np.array_equal(augmented, image)


@given(st.integers(0, 2**32), st.integers(8, 40), st.integers(8, 40))
def test_augment_keeps_shape_and_type(seed: int, height: int, width: int) -> None:
    image = _rng(seed).integers(0, 256, (height, width), np.uint8)
    augmented = augment(image, Augmentation(), _rng(seed))
    assert augmented.shape == image.shape
    assert augmented.dtype == np.uint8


@given(st.integers(0, 2**32), st.floats(0, 1))
def test_augment_gives_the_requested_size(seed: int, degrade: float) -> None:
    image = _rng(seed).integers(0, 256, (56, 56), np.uint8)
    augmented = augment(image, replace(NONE, degrade=degrade, erase=degrade), _rng(seed), 32)
    assert augmented.shape == (32, 32)
    assert augmented.dtype == np.uint8


def test_augment_degrades_what_tells_the_source_of_a_picture(parts: Any) -> None:
    image = parts["train"].images[0]
    versions = np.stack([augment(image, replace(NONE, degrade=1.0), _rng(seed)) for seed in range(60)]).astype(float)
    sharpness = np.abs(np.diff(versions, axis=1)).mean(axis=(1, 2))
    assert sharpness.max() > 3 * sharpness.min()
    assert versions.mean(axis=(1, 2)).std() > 5
    assert np.array_equal(augment(image, NONE, _rng(3)), image)


def test_augment_draws_the_same_amount_whatever_the_options(parts: Any) -> None:
    image = parts["train"].images[0]
    drawn = []
    for options in (NONE, Augmentation(), replace(NONE, degrade=1.0)):
        rng = _rng(9)
        augment(image, options, rng)
        drawn.append(rng.random())
    assert len(set(drawn)) == 1


def test_augment_with_contrast_keeps_the_mean() -> None:
    image = _rng(1).integers(90, 170, (64, 64), np.uint8)
    augmented = augment(image, replace(NONE, contrast=0.5), _rng(3))
    assert abs(float(augmented.mean()) - float(image.mean())) < 1
    assert abs(float(augmented.std()) - float(image.std())) > 1


@pytest.mark.parametrize(
    "options",
    [{"zoom": -0.1}, {"rotation_deg": 200}, {"shift": 0.6}, {"contrast": 2}, {"degrade": 1.1}, {"erase": -1}],
)
def test_augmentation_refuses_values_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        Augmentation(**options)  # type: ignore[arg-type]


def test_epoch_batches_depend_on_seed_epoch_and_step_only(parts: Any) -> None:
    def take(first_step: int, epoch: int = 0) -> list[Any]:
        options = Augmentation()
        return list(epoch_batches(parts["train"], options, batch_size=20, seed=7, epoch=epoch, first_step=first_step))

    whole, rest, other = take(0), take(2), take(0, epoch=1)
    assert len(whole) == 4
    for batch, again in zip(whole[2:], rest, strict=True):
        assert batch.step == again.step
        assert np.array_equal(batch.images, again.images)
        assert batch.files == again.files
    assert whole[0].files != other[0].files
    assert whole[0].images.shape == (20, 48, 48, 1)
    assert whole[0].targets.sum() == 20


def test_epoch_batches_raise_an_error_of_the_worker(parts: Any) -> None:
    broken = parts["train"].where(lambda _: True)
    broken.labels[:] = 9
    with pytest.raises(IndexError):
        list(epoch_batches(broken, Augmentation(), batch_size=20, seed=0, epoch=0))


def test_class_weights_even_out_the_classes() -> None:
    labels = np.array([0] * 10 + [1] * 30 + [2] * 20 + [3] * 20)
    weights = class_weights(np.append(labels, [ANY_TUMOUR] * 7))
    assert weights[ANY_TUMOUR] == 1
    assert np.allclose(weights[labels].mean(), 1)
    assert np.allclose(np.bincount(labels) * weights[:4], 20)
