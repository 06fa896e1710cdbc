"""The audit of what gives a class away without anatomy."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from braintumor.errors import UsageError
from braintumor.training.data.cli import main
from braintumor.training.data.shortcuts import audit_shortcuts, file_cues, name_pattern, pixel_cues, read_folder
from tests.support.paths import SHARED_DATA

COUNT = 12
ORIGINAL_FILES = SHARED_DATA / "original-files.csv"


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """Two classes of the same noise: healthy files are larger, and have a border on the left."""
    generator = np.random.default_rng(0)
    for label, side, border in (("notumor", 96, 30), ("glioma", 64, 0)):
        folder = tmp_path / "set" / label
        folder.mkdir(parents=True)
        for number in range(COUNT):
            pixels = generator.integers(20, 250, (side, side), np.uint8)
            pixels[:, :border] = 0
            Image.fromarray(pixels).save(folder / f"image{number}{label[0]}.png")
    return tmp_path / "set"


def test_audit_shortcuts_tells_a_cue_from_noise() -> None:
    generator = np.random.default_rng(1)
    labels = ["healthy"] * 200 + ["glioma"] * 100
    level = np.concatenate([generator.normal(0, 1, 200), generator.normal(9, 1, 100)])[:, None]
    audit = audit_shortcuts({"level": level, "noise": generator.normal(0, 1, (300, 1))}, labels)
    assert [cue.name for cue in audit.cues] == ["level", "noise", "all of them"]
    level_cue, noise_cue, both = audit.cues
    assert audit.healthy_chance is not None
    assert (audit.chance.count, audit.healthy_chance.count, audit.images) == (200, 200, 300)
    assert level_cue.classes.count >= 298
    assert both.classes.count >= 298
    assert noise_cue.classes.count < 220


def test_audit_shortcuts_without_a_healthy_class() -> None:
    audit = audit_shortcuts({"level": np.arange(20.0)[:, None]}, ["cat"] * 10 + ["dog"] * 10)
    assert audit.healthy_chance is None
    assert {cue.healthy for cue in audit.cues} == {None}


@pytest.mark.parametrize("labels", [[], ["healthy"] * 9, ["healthy"] * 9 + ["glioma"] * 4])
def test_audit_shortcuts_needs_two_classes_with_enough_images(labels: list[str]) -> None:
    with pytest.raises(UsageError):
        audit_shortcuts({"level": np.zeros((len(labels), 1))}, labels)


def test_pixel_cues_measure_border_black_and_noise() -> None:
    pixels = np.full((40, 80), 100, np.uint8)
    pixels[:10] = 0
    pixels[:, :8] = 0
    cues = pixel_cues(pixels)
    assert cues["border"] == (0.25, 0.0, 0.1, 0.0)
    assert cues["pure black"] == pytest.approx((1 - 0.75 * 0.9,))
    assert pixel_cues(np.full((9, 9), 7, np.uint8))["noise"] == (0.0,)
    noisy = np.clip(np.random.default_rng(0).normal(128, 10, (256, 256)), 0, 255).astype(np.uint8)
    assert pixel_cues(noisy)["noise"][0] == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize("pixels", [np.zeros((1, 1), np.uint8), np.zeros((5, 2), np.uint8)])
def test_pixel_cues_of_tiny_black_images_are_finite(pixels: np.ndarray) -> None:
    assert all(np.isfinite(value).all() and max(value) <= 1 for value in pixel_cues(pixels).values())


def test_file_cues_of_a_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(np.zeros((30, 60), np.uint8)).save(path, quality=50)
    coarse = file_cues(path)
    assert (coarse["width and height"], coarse["aspect ratio"]) == ((60.0, 30.0), (2.0,))
    Image.fromarray(np.zeros((30, 60), np.uint8)).save(path, quality=95)
    assert 0 < file_cues(path)["JPEG quantisation"][0] < coarse["JPEG quantisation"][0]


def test_name_pattern() -> None:
    assert name_pattern("Tr-gl_0010.jpg") == name_pattern("Tr-gl_0342.JPG") == "tr-gl_#.jpg"


def test_read_folder_leaves_damaged_files_out(collection: Path) -> None:
    (collection / "glioma" / "broken.png").write_bytes(b"no image")
    cues, labels, unreadable = read_folder(collection)
    assert len(labels) == 2 * COUNT == len(cues["border"])
    assert set(labels) == {"healthy", "glioma"}
    assert len(unreadable) == 1


def test_bt_data_audit_of_a_folder(collection: Path, tmp_path: Path) -> None:
    out = tmp_path / "audit"
    done = CliRunner().invoke(main, ["audit", str(collection), "--out", str(out)])
    assert done.exit_code == 0, done.output
    document = json.loads((out / "shortcuts.json").read_text())
    by_name = {cue["name"]: cue["healthy"] for cue in document["cues"]}
    for given_away in ("width and height", "border", "file name", "all of them"):
        assert by_name[given_away]["count"] == 2 * COUNT
    assert by_name["aspect ratio"]["count"] <= 1.5 * COUNT
    page = (out / "audit.html").read_text()
    assert "<svg" in page
    assert "width and height" in page


@pytest.mark.skipif(not ORIGINAL_FILES.exists(), reason="the list of original files is not here")
def test_audit_shortcuts_of_the_real_data_finds_the_file_size() -> None:
    with ORIGINAL_FILES.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    sizes = np.array([(float(row["width"]), float(row["height"])) for row in rows])
    audit = audit_shortcuts({"width and height": sizes}, [row["label"] for row in rows])
    cue = audit.cues[0]
    assert cue.healthy is not None
    assert audit.healthy_chance is not None
    assert cue.healthy.share > 0.95
    assert audit.healthy_chance.share < 0.75
