"""Folders are listed in the same way by every command: links followed, hidden images left out and told."""

import os
from pathlib import Path

from braintumor.runtime.image.folder import list_folder, list_images


def files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_list_folder_tells_images_hidden_ones_and_others_apart(tmp_path: Path) -> None:
    folder = tmp_path / ".data"  # a dot above what was named hides nothing
    files(folder, "b.png", "a/x.JPG", "a/._x.jpg", ".ipynb_checkpoints/b.png", "a/.git/deep/c.tif", "notes.txt")
    listing = list_folder(folder)
    assert [Path(path).relative_to(folder).as_posix() for path in listing.images] == ["a/x.JPG", "b.png"]
    assert len(listing.hidden) == 3
    assert [Path(path).name for path in listing.others] == ["notes.txt"]
    assert list_folder(f"{folder}{os.sep}").hidden == tuple(listing.hidden)


def test_list_images_tells_how_many_hidden_ones_it_leaves_out(tmp_path: Path) -> None:
    files(tmp_path, "b.png", "._b.png", ".c/d.png")
    notes: list[str] = []
    assert list_images(tmp_path, notes.append) == [tmp_path / "b.png"]
    assert ["(2, such as" in note for note in notes] == [True]


def test_list_images_follows_links_once_and_passes_over_broken_ones(tmp_path: Path) -> None:
    files(tmp_path, "data/b.png")
    (tmp_path / "data" / "again").symlink_to(tmp_path / "data", target_is_directory=True)
    (tmp_path / "data" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    files(tmp_path, "elsewhere/c.png")
    (tmp_path / "data" / "more").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    names = [path.relative_to(tmp_path / "data").as_posix() for path in list_images(tmp_path / "data")]
    assert names == ["b.png", "more/c.png"]
