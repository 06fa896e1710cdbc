"""The data set: preparing a copy of it, its file, its audit."""

import csv
import json
import shutil
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from braintumor.bench.data.manifest import TEST_SUPPORTS, ManifestRow, read_manifest
from braintumor.errors import InputError, IntegrityError, OutputError, UsageError
from braintumor.models.labels import CLASSES
from braintumor.training.data.audit import audit_dataset, near_duplicate_free
from braintumor.training.data.audit_page import audit_page
from braintumor.training.data.cli import main
from braintumor.training.data.dataset import load_dataset, save_dataset
from braintumor.training.data.hashing import phash
from braintumor.training.data.prepare import prepare_dataset, unpacked
from braintumor.training.data.shortcuts import audit_shortcuts

_FOLDERS = {"glioma": "glioma", "healthy": "notumor", "meningioma": "meningioma_tumor", "pituitary": "pituitary"}


@pytest.fixture
def copy(tmp_path: Path, parts: Any) -> tuple[Path, Path]:
    """A folder as other people keep it, and a manifest for it."""
    folder, manifest = tmp_path / "Training", tmp_path / "manifest.csv"
    with manifest.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "label", "split", "phash"])
        for split, data in parts.items():
            for image, label, name in zip(data.images, data.labels, data.files, strict=True):
                place = folder / split / _FOLDERS[CLASSES[label]]
                place.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(place / name)
                writer.writerow([name, CLASSES[label], split, f"{phash(image):016x}"])
    return folder, manifest


def test_read_manifest_has_the_published_supports() -> None:
    rows = read_manifest()
    supports = {label: sum(row.label == label and row.split == "test" for row in rows) for label in CLASSES}
    assert supports == TEST_SUPPORTS
    assert [sum(row.split == split for row in rows) for split in ("train", "val", "test")] == [5618, 702, 703]
    assert len(near_duplicate_free(rows)) == 703 - 344


@pytest.mark.parametrize("text", ["", "file,label\na,b\n", "file,label,split,phash\nx.png,dog,train,0\n"])
def test_read_manifest_refuses_another_table(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.csv"
    with pytest.raises(UsageError, match="`manifest`"):
        read_manifest(path)
    path.write_text(text)
    with pytest.raises(IntegrityError, match=r"other\.csv"):
        read_manifest(path)


def test_prepare_dataset_matches_by_name_in_folder_and_zip(
    copy: tuple[Path, Path], tmp_path: Path, parts: Any
) -> None:
    folder, manifest = copy
    archive = Path(shutil.make_archive(str(tmp_path / "copy"), "zip", folder))
    rows = read_manifest(manifest)
    for source in (folder, archive):
        with unpacked(source) as place:
            preparation = prepare_dataset(place, rows)
        assert preparation.complete
        assert preparation.findings() == []
        assert preparation.parts["test"].files == parts["test"].files
        assert preparation.parts["train"].images.shape == (96, 224, 224)
        assert np.array_equal(preparation.parts["train"].labels, parts["train"].labels)


def test_prepare_dataset_lists_all_findings(copy: tuple[Path, Path]) -> None:
    folder, manifest = copy
    files = sorted((folder / "train").rglob("*.png"))
    files[0].write_bytes(b"no image")
    files[1].rename(files[1].with_name("stranger.png"))
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(files[2])
    elsewhere = next(path for path in (folder / "train").iterdir() if path != files[3].parent)
    files[3].rename(elsewhere / files[3].name)
    preparation = prepare_dataset(folder, read_manifest(manifest))
    assert [len(names) for names in (preparation.missing, preparation.foreign, preparation.unreadable)] == [3, 1, 1]
    assert [len(names) for names in (preparation.different, preparation.relabelled)] == [1, 1]
    assert len(preparation.findings()) == 5
    stored = preparation.to_json()
    assert [len(stored[kind]) for kind in ("missing", "foreign", "unreadable", "different", "relabelled")] == [
        3,
        1,
        1,
        1,
        1,
    ]
    assert stored["supports"]["test"]["glioma"] == 6


def test_prepare_dataset_names_wrong_class_folders(tmp_path: Path, copy: tuple[Path, Path]) -> None:
    folder, manifest = copy
    for place in list(folder.rglob("pituitary")):
        place.rename(place.with_name("cats"))
    with pytest.raises(UsageError, match=r"pituitary.*cats"):
        prepare_dataset(folder, read_manifest(manifest))
    with pytest.raises(UsageError, match="there are none"):
        prepare_dataset(tmp_path / "Training" / "empty", read_manifest(manifest))
    with pytest.raises(InputError, match="neither a folder nor"), unpacked(manifest):
        pass
    with pytest.raises(UsageError, match="nowhere is not there"), unpacked(tmp_path / "nowhere"):
        pass


def test_prepare_dataset_refuses_images_that_the_manifest_does_not_list(copy: tuple[Path, Path]) -> None:
    folder, _ = copy
    with pytest.raises(UsageError, match=r"none of the 144 images .*phantom-3.*`manifest`"):
        prepare_dataset(folder, read_manifest())


def test_unpacked_names_a_damaged_archive(copy: tuple[Path, Path], tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "copy"), "zip", copy[0]))
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as stream:
        member = next(item for item in stream.infolist() if item.file_size > 500)
    at = member.header_offset + 30 + len(member.filename)
    data[at + 100 : at + 200] = bytes(100)
    archive.write_bytes(data)
    with pytest.raises(InputError, match=r"copy\.zip cannot be unpacked \(.*get it again"), unpacked(archive):
        pass


def test_unpacked_refuses_a_full_disk(
    copy: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "copy"), "zip", copy[0]))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "extractall", full)
    with pytest.raises(OutputError, match=r"No space left.*unpack it elsewhere"), unpacked(archive):
        pass


def test_load_dataset_reads_what_was_saved(tmp_path: Path, parts: Any) -> None:
    path = tmp_path / "data.npz"
    save_dataset(path, parts)
    loaded = load_dataset(path)
    for split, data in parts.items():
        assert np.array_equal(loaded[split].images, data.images)
        assert np.array_equal(loaded[split].labels, data.labels)
        assert loaded[split].files == data.files


def test_load_dataset_refuses_a_damaged_file(tmp_path: Path, parts: Any) -> None:
    path = tmp_path / "data.npz"
    with pytest.raises(UsageError, match="bt-data prepare"):
        load_dataset(path)
    path.write_text("file,label\n")
    with pytest.raises(IntegrityError, match=r"not an \.npz archive.*bt-data prepare"):
        load_dataset(path)
    save_dataset(path, parts)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(IntegrityError, match="bt-data prepare"):
        load_dataset(path)
    only = {split: data.where(lambda name: name.endswith("0.png")) for split, data in parts.items()}
    save_dataset(path, only)
    with pytest.raises(IntegrityError, match=r"has no \w+ image of"):
        load_dataset(path)
    with pytest.raises(OutputError, match="`out`"):
        save_dataset(tmp_path / "data.npz" / "below.npz", parts)


def test_audit_dataset_finds_planted_copies(parts: Any) -> None:
    train, test = parts["train"], parts["test"]
    test.images[0] = train.images[5]
    test.images[1] = train.images[6][:, ::-1]
    train.images[9] = train.images[10]
    findings, pairs = audit_dataset(parts)
    assert findings.images == 144
    assert findings.exact_extras == 2
    assert findings.test_with_exact_copy == 1
    assert findings.exact_across_classes == 2
    assert findings.test_with_neighbour_flipped[0] >= findings.test_with_neighbour[0] + 1
    assert any(pair.exact and {pair.first, pair.second} == {5, 120} for pair in pairs)
    shortcuts = audit_shortcuts({"level": np.arange(20.0)[:, None]}, ["healthy"] * 10 + ["glioma"] * 10)
    page = audit_page(findings, pairs, parts, shortcuts, shown=3)
    assert page.count("<figure>") == 4
    assert "phantom-3-0.png" in page


def test_near_duplicate_free_counts_bits() -> None:
    rows = [
        ManifestRow("a", "glioma", "train", 0),
        ManifestRow("b", "glioma", "test", 0b1111),
        ManifestRow("c", "glioma", "test", 0b11111),
    ]
    assert near_duplicate_free(rows) == {"c"}


def test_bt_data_prepares_and_audits(copy: tuple[Path, Path], tmp_path: Path) -> None:
    folder, manifest = copy
    out = tmp_path / "out" / "data.npz"
    runner = CliRunner()
    made = runner.invoke(main, ["prepare", str(folder), "--manifest", str(manifest), "--out", str(out)])
    assert made.exit_code == 0, made.output
    assert "test     24  glioma 6" in made.output
    looked = runner.invoke(main, ["audit", str(out), "--out", str(tmp_path / "audit")])
    assert looked.exit_code == 0, looked.output
    assert json.loads((tmp_path / "audit" / "audit.json").read_text())["images"] == 144
    next((folder / "test").rglob("*.png")).unlink()
    incomplete = runner.invoke(main, ["prepare", str(folder), "--manifest", str(manifest), "--out", str(out)])
    assert incomplete.exit_code == 3
    assert "1 missing: phantom-3" in incomplete.output
    anyway = ["prepare", str(folder), "--manifest", str(manifest), "--out", str(out), "--incomplete"]
    listed = tmp_path / "findings.json"
    assert runner.invoke(main, [*anyway, "--findings", str(listed)]).exit_code == 0
    assert len(json.loads(listed.read_text())["missing"]) == 1
    before = out.read_bytes()
    for path in (folder / "test" / "glioma").glob("*.png"):
        path.unlink()
    lacking = runner.invoke(main, anyway)
    assert (lacking.exit_code, "no usable image for test/glioma" in lacking.output) == (3, True)
    assert out.read_bytes() == before


@pytest.mark.slow
def test_audit_dataset_finds_the_known_copies_of_the_real_data(shared_zip: Path) -> None:
    with unpacked(shared_zip) as folder:
        preparation = prepare_dataset(folder, read_manifest())
    assert preparation.complete
    assert preparation.findings() == []
    assert preparation.supports("test") == TEST_SUPPORTS
    findings, _ = audit_dataset(preparation.parts)
    assert (findings.exact_extras, findings.test_with_exact_copy) == (426, 73)
    assert findings.test_with_neighbour == {0: 160, 4: 344, 6: 482}
    assert findings.exact_across_classes == 0


def test_unpacked_keeps_a_zip_with_paths_outside_inside(tmp_path: Path) -> None:
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("../../escaped.png", b"x")
    with unpacked(archive) as folder:
        assert all(folder in path.parents for path in folder.rglob("*"))
    assert not list(tmp_path.rglob("escaped.png"))


def test_bt_data_fetch_shows_the_licence_and_the_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    declined = CliRunner().invoke(main, ["fetch"], input="n\n")
    assert declined.exit_code == 1
    assert "rights belong to the original contributors" in declined.output
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    missing = CliRunner().invoke(main, ["fetch", "--yes"])
    assert missing.exit_code == 5
    assert "braintumor[data]" in missing.output


def test_bt_data_fetch_without_a_network_has_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(_: str) -> str:
        raise ConnectionError("no route")

    monkeypatch.setitem(sys.modules, "kagglehub", SimpleNamespace(dataset_download=download))
    failed = CliRunner().invoke(main, ["fetch", "--yes"])
    assert failed.exit_code == 5
    assert "bt-data prepare archive.zip" in failed.output
    monkeypatch.setitem(sys.modules, "kagglehub", SimpleNamespace(dataset_download=lambda name: f"/cache/{name}"))
    done = CliRunner().invoke(main, ["fetch", "--yes"])
    assert done.exit_code == 0
    assert "bt-data prepare /cache/" in done.output
