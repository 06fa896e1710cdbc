"""Calibration takes real training images, and says what is wrong with any others."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from braintumor.bench.data.phantoms import phantoms
from braintumor.bench.data.study import study_images
from braintumor.errors import UsageError
from braintumor.export.int8.images import MAX_COUNT, MIN_COUNT, calibration_set, validation_set
from braintumor.models.labels import CLASSES

Folder = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Writes a folder with one folder a class."""

    def make(per_class: int, *, images: NDArray[np.uint8] | None = None, classes: tuple[str, ...] = CLASSES) -> Path:
        made = phantoms(per_class, 96, 96, seed=4) if images is None else images
        for name in classes:
            (tmp_path / "images" / name).mkdir(parents=True)
            for index in range(per_class):
                Image.fromarray(made[index % len(made)]).save(tmp_path / "images" / name / f"{name}-{index:03}.png")
        return tmp_path / "images"

    return make


def test_calibration_set_spreads_images_evenly_and_always_the_same(folder: Folder) -> None:
    source = folder(80)
    calibration = calibration_set(source, count=300)
    assert Counter(calibration.labels.tolist()) == dict.fromkeys(range(4), 75)
    again = calibration_set(source, count=300)
    assert again.names == calibration.names
    assert again.sha256 == calibration.sha256
    assert calibration_set(source, count=304).sha256 != calibration.sha256


@pytest.mark.parametrize("count", [0, MIN_COUNT - 1, MAX_COUNT + 1])
def test_calibration_set_refuses_a_count_out_of_range(count: int) -> None:
    with pytest.raises(UsageError, match=f"300 to 500, got {count}"):
        calibration_set(Path("nowhere"), count=count)


def test_calibration_set_refuses_too_few_images(folder: Folder) -> None:
    with pytest.raises(UsageError, match="holds 40 images; 300 are needed"):
        calibration_set(folder(10), count=300)


def test_calibration_set_refuses_random_noise(folder: Folder) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 24, 24), np.uint8)
    with pytest.raises(UsageError, match=r"300 images of .*constant or noise.*real training images"):
        calibration_set(folder(80, images=noise), count=300)


def test_calibration_set_names_one_constant_image(folder: Folder) -> None:
    source = folder(75)
    bad = source / CLASSES[2] / f"{CLASSES[2]}-007.png"
    Image.fromarray(np.full((24, 24), 9, np.uint8)).save(bad)
    with pytest.raises(UsageError, match=rf"1 of \d+ images of .*such as {bad.name}, are constant or noise"):
        calibration_set(source, count=300)


@pytest.mark.parametrize("split", ["val", "test"])
def test_calibration_set_refuses_validation_and_test_images(
    folder: Folder, split: str, held_out: dict[str, str]
) -> None:
    source = folder(75)
    (source / CLASSES[0] / f"{CLASSES[0]}-000.png").rename(source / CLASSES[0] / held_out[split])
    with pytest.raises(UsageError, match=rf"validation or test part, such as {held_out[split]} \({split}\)"):
        calibration_set(source, count=300)


def test_calibration_set_refuses_a_class_without_images(folder: Folder) -> None:
    with pytest.raises(UsageError, match=f"has no image of {CLASSES[3]}"):
        validation_set(folder(5, classes=CLASSES[:3]))


def test_calibration_set_refuses_a_missing_source(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        calibration_set(tmp_path / "nothing")


def test_validation_set_takes_all_images_of_a_folder(folder: Folder) -> None:
    assert len(validation_set(folder(6))) == 24


@pytest.fixture(scope="module")
def held_out() -> dict[str, str]:
    """A file name of the validation and of the test part of the study."""
    return {split: next(i.file for i in study_images().values() if i.split == split) for split in ("val", "test")}
