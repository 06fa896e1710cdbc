"""Images as files: phantoms, noisy grey levels, and the real ones where they are."""

import csv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from braintumor.bench.data.phantoms import phantoms
from braintumor.models.labels import CLASSES
from tests.support.keras_models import GREY_LEVELS
from tests.support.paths import SHARED_DATA


def write_phantoms(folder: Path, count: int, height: int, width: int, *, seed: int) -> list[Path]:
    """Phantoms as PNG files, in their order."""
    paths = [folder / f"scan{index:02}.png" for index in range(count)]
    for path, pixels in zip(paths, phantoms(count, height, width, seed=seed), strict=True):
        Image.fromarray(pixels).save(path)
    return paths


def write_phantom_classes(folder: Path, count: int) -> Path:
    """So many phantoms a class, as <class>/<file>.png."""
    for index, pixels in enumerate(phantoms(count * len(CLASSES), 96, 80, seed=3)):
        path = folder / CLASSES[index % len(CLASSES)] / f"{index:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


def write_grey_levels(folder: Path, names: Sequence[str], *, count: int, levels: Sequence[int] = GREY_LEVELS) -> Path:
    """Noisy images of these folders' mean grey levels, in their order, as <folder>/<number>.png."""
    rng = np.random.default_rng(0)
    for name, level in zip(names, levels, strict=True):
        (folder / name).mkdir()
        for index in range(count):
            pixels = np.clip(rng.normal(level, 12, (32, 32)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index:03}.png")
    return folder


def real_images() -> Path:
    """The archive of the real images; skips where it is not."""
    archive = SHARED_DATA / "brain-mri-224.zip"
    if not archive.is_file():
        pytest.skip(f"the real images are not at {SHARED_DATA}")
    return archive


def extract_split(folder: Path, split: str) -> Path:
    """The real images of "test" or "val", as <class>/<file>; skips where the data is not."""
    archive = real_images()
    with (SHARED_DATA / "manifest.csv").open(newline="") as stream, zipfile.ZipFile(archive) as images:
        for row in csv.DictReader(stream):
            if row["split"] == split:
                target = folder / row["file"]
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(images.read(f"brain-mri-224/{row['file']}"))
    return folder
