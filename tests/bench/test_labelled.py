"""Images whose class is known."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from braintumor.bench.data.labelled import read_labelled
from braintumor.bench.data.manifest import SPLITS, read_manifest
from braintumor.bench.data.phantoms import phantoms
from braintumor.bench.data.study import find_study_image, near_duplicate_free, study_images
from braintumor.errors import InputError, IntegrityError, UsageError
from braintumor.models.labels import CLASSES
from braintumor.runtime.image.geometry import Geometry
from braintumor.training.data.audit import near_duplicate_free as near_duplicate_free_in_training
from braintumor.training.data.dataset import Dataset, save_dataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve phantoms, three a class, under the names that a public copy gives its folders."""
    for index, pixels in enumerate(phantoms(12, 40, 48)):
        place = tmp_path / "images" / ("glioma", "notumor", "Meningioma Tumor", "pituitary")[index % 4]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{index:02}.png")
    return tmp_path / "images"


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    parts = {}
    for number, split in enumerate(SPLITS):
        images = phantoms(4 * (number + 1), 32, 32, seed=number)
        files = tuple(f"{split}-{index}.png" for index in range(len(images)))
        parts[split] = Dataset(images, np.arange(len(images)) % 4, files)
    save_dataset(tmp_path / "prepared.npz", parts)
    return tmp_path / "prepared.npz"


def test_read_labelled_lists_folder_by_class(folder: Path) -> None:
    labelled = read_labelled(folder)
    assert labelled.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert labelled.names[3:6] == ("01.png", "05.png", "09.png")
    assert np.array_equal(labelled.read(4), phantoms(6, 40, 48)[5])


def test_read_labelled_follows_order_of_classes(folder: Path, prepared: Path) -> None:
    classes = CLASSES[::-1]
    for source in (folder, prepared):
        usual, reverse = read_labelled(source), read_labelled(source, classes=classes)
        named = dict(zip(usual.names, usual.labels.tolist(), strict=True))
        assert [3 - named[name] for name in reverse.names] == reverse.labels.tolist()


def test_labelled_images_are_decoded_when_read(folder: Path) -> None:
    labelled = read_labelled(folder)
    (folder / "glioma" / "00.png").write_bytes(b"no image")
    labelled.read(1)
    with pytest.raises(InputError, match=r"00\.png"):
        labelled.read(0)


def test_batches_hold_every_image_in_every_geometry(folder: Path) -> None:
    labelled = read_labelled(folder)
    geometries = (Geometry(32, 32), Geometry(24, 28, "tf-bilinear"), Geometry(24, 24, crop="head"))
    batches = list(labelled.batches(geometries, 5))
    assert [len(batch[geometries[0]]) for batch in batches] == [5, 5, 2]
    for geometry in geometries:
        joined = np.concatenate([batch[geometry] for batch in batches])
        assert np.array_equal(joined, labelled.resized(geometry))


def test_read_labelled_reads_split_of_prepared_file(prepared: Path) -> None:
    for number, split in enumerate(SPLITS):
        labelled = read_labelled(prepared, split)
        assert len(labelled) == 4 * (number + 1)
        assert labelled.names[0] == f"{split}-0.png"
        assert np.array_equal(labelled.resized(Geometry(32, 32)), phantoms(len(labelled), 32, 32, seed=number))


def test_sha256_depends_on_pixels_and_labels(folder: Path) -> None:
    before = read_labelled(folder).sha256
    os.rename(folder / "glioma" / "00.png", folder / "pituitary" / "00.png")  # noqa: PTH104
    moved = read_labelled(folder).sha256
    (folder / "pituitary" / "00.png").unlink()
    assert len({before, moved, read_labelled(folder).sha256}) == 3


def test_stratified_is_even_and_deterministic(folder: Path) -> None:
    labelled = read_labelled(folder).stratified(6)
    assert sorted(labelled.labels.tolist()) == [0, 0, 1, 1, 2, 3]
    assert labelled.names == read_labelled(folder).stratified(6).names


def test_stratified_refuses_too_few_images(folder: Path) -> None:
    with pytest.raises(UsageError, match="12 images; 13 are needed"):
        read_labelled(folder).stratified(13)


def test_read_labelled_names_missing_class(folder: Path, prepared: Path) -> None:
    for path in (folder / "notumor").iterdir():
        path.unlink()
    with pytest.raises(UsageError, match="no image of healthy"):
        read_labelled(folder)
    with pytest.raises(UsageError, match=r"no image of glioma.*in its nonsense part"):
        read_labelled(prepared, "nonsense")


def test_read_labelled_refuses_images_in_unknown_folder(folder: Path) -> None:
    (folder / "notes").mkdir()
    (folder / "notes" / "read.txt").write_text("nothing to see")
    assert len(read_labelled(folder)) == 12
    Image.fromarray(phantoms(1, 16, 16)[0]).save(folder / "notes" / "a.png")
    with pytest.raises(UsageError, match="images in notes"):
        read_labelled(folder)


def test_read_labelled_leaves_hidden_images_out(folder: Path) -> None:
    expected = read_labelled(folder).names
    for name in ("glioma/.ipynb_checkpoints/00.png", "glioma/._00.png", ".ipynb_checkpoints/a.png", ".Trash/x/b.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\0\5\x16\7")
    notes: list[str] = []
    assert read_labelled(folder, note=notes.append).names == expected
    assert ["(4, such as" in note for note in notes] == [True]


def test_read_labelled_refuses_other_sources(tmp_path: Path, prepared: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        read_labelled(tmp_path / "none")
    text = tmp_path / "text.npz"
    text.write_text("no archive")
    cut = tmp_path / "cut.npz"
    cut.write_bytes(prepared.read_bytes()[:-2000])
    for bad in (text, cut):
        with pytest.raises(IntegrityError, match="bt-data prepare"):
            read_labelled(bad)
    with pytest.raises(UsageError, match="a, b, c, d"):
        read_labelled(prepared, classes=("a", "b", "c", "d"))


def test_read_labelled_refuses_other_pixels_in_prepared_file(tmp_path: Path) -> None:
    path = tmp_path / "odd.npz"
    few = {"labels": np.zeros(3, np.int64), "splits": np.array(["test"] * 3), "files": np.array(["a", "b", "c"])}
    for images in (np.zeros((3, 8, 8), np.float32), np.zeros((3, 8), np.uint8), np.zeros((2, 8, 8), np.uint8)):
        np.savez(path, images=images, **few)  # type: ignore[arg-type]
        with pytest.raises(IntegrityError, match=r"images \["):
            read_labelled(path)


def test_find_study_image_by_file_name_in_any_format() -> None:
    rows = read_manifest()
    assert len(study_images()) == len(rows) == 7023
    image = find_study_image("TE-gltr_0000.PNG")
    assert image is not None
    assert (image.file, image.split, image.label) == ("Te-glTr_0000.jpg", "val", "glioma")
    assert find_study_image("scan.png") is None


def test_near_duplicate_free_agrees_with_training() -> None:
    assert near_duplicate_free() == near_duplicate_free_in_training(read_manifest())
    assert len(near_duplicate_free()) == 703 - 344
