"""Augmentation as compiled for an accelerator, here on the CPU."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from braintumor.bench.data.phantoms import phantoms
from braintumor.training.data.augment import augment_batch
from braintumor.training.fit.device_augmentation import augmented, degraded, erased, jpeg_compressed
from braintumor.training.recipe import Augmentation

jax: Any = pytest.importorskip("jax")

STILL = Augmentation(rotation_deg=0, zoom=0, shift=0, contrast=0, flip=False, degrade=0, erase=0)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return phantoms(24, 64, 64)


def _pillow_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def test_augmented_without_changes_keeps_the_pixels(images: np.ndarray) -> None:
    changed = augmented(jax, jax.numpy.asarray(images), STILL, jax.random.key(0))
    assert np.array_equal(np.asarray(changed), images.astype(np.float32))


def test_augmented_turns_and_mirrors(images: np.ndarray) -> None:
    options = Augmentation(rotation_deg=0, zoom=0, shift=0, contrast=0, flip=True, degrade=0, erase=0)
    changed = np.asarray(augmented(jax, jax.numpy.asarray(images), options, jax.random.key(0)))
    mirrored = [np.array_equal(new, old[:, ::-1]) for new, old in zip(changed, images, strict=True)]
    same = [np.array_equal(new, old) for new, old in zip(changed, images, strict=True)]
    assert 4 < sum(mirrored) < 20
    assert all(is_mirrored or is_same for is_mirrored, is_same in zip(mirrored, same, strict=True))


@pytest.mark.parametrize("quality", [25, 50, 75, 95])
def test_jpeg_compressed_is_what_libjpeg_makes(images: np.ndarray, quality: int) -> None:
    qualities = np.full(len(images), float(quality), np.float32)
    compressed = np.asarray(jpeg_compressed(jax, images.astype(np.float32), qualities))
    reference = np.stack([_pillow_jpeg(image, quality) for image in images]).astype(np.float32)
    # libjpeg rounds halves up, which matters at high quality, where tables hold small even numbers.
    assert np.abs(compressed - reference).mean() < 0.3
    assert np.abs(compressed - reference).mean() < 0.3 * np.abs(reference - images).mean()


def test_degraded_loses_about_as_much_as_on_the_host(images: np.ndarray) -> None:
    pixels = jax.numpy.asarray(images.astype(np.float32))
    compiled = jax.jit(lambda values, key: degraded(jax, values, 1.0, key))
    device = np.concatenate([np.asarray(compiled(pixels, jax.random.key(seed))) for seed in range(12)])
    options = Augmentation(0, 0, 0, 0, False, 1.0, 0)
    host = np.concatenate([augment_batch(images, options, np.random.default_rng(seed)) for seed in range(12)])
    repeated = np.concatenate([images] * 12).astype(np.float32)
    device_loss, host_loss = (np.abs(values - repeated).mean() for values in (device, host))
    assert 0.7 < device_loss / host_loss < 1.4
    assert device.min() >= 0
    assert device.max() <= 255
    assert np.array_equal(device, np.round(device))


def test_degraded_at_strength_zero_keeps_the_pixels(images: np.ndarray) -> None:
    pixels = images.astype(np.float32)
    assert np.array_equal(np.asarray(degraded(jax, pixels, 0.0, jax.random.key(1))), pixels)


def test_erased_blanks_a_rectangle_in_a_part_of_the_images(images: np.ndarray) -> None:
    pixels = jax.numpy.asarray(np.concatenate([images] * 8).astype(np.float32) + 1000)
    changed = np.asarray(erased(jax, pixels, 0.25, jax.random.key(2)))
    blank = changed < 1000
    share = blank.any(axis=(1, 2)).mean()
    assert 0.12 < share < 0.4
    for mask, values in zip(blank, changed, strict=True):
        rows, columns = mask.any(axis=1), mask.any(axis=0)
        assert mask.sum() == rows.sum() * columns.sum()
        assert len(np.unique(values[mask])) <= 1
