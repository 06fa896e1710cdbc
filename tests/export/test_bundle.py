"""Writing a bundle: whole or not at all, and never over what is not ours."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from braintumor.errors import IntegrityError, OutputError
from braintumor.export.bundle import check_destination, write_bundle
from braintumor.runtime.bundle.load import Bundle, load_bundle

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions or limits")

Write = Callable[..., Bundle]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a bundle of one tiny ONNX file."""
    value = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 8, 8])
    graph = helper.make_graph([helper.make_node("Identity", ["image"], ["y"])], "g", [value], [value])
    graph.output[0].name = "y"
    source = tmp_path / "source.onnx"
    onnx.save(helper.make_model(graph), source)
    entry = {
        "name": "Tiny",
        "weight": 1.0,
        "height": 8,
        "width": 8,
        "resize": "antialias",
        "precision": "fp32",
        "source": {},
        "opset": 18,
        "tools": {},
        "parity": {},
    }

    def make(folder: Path, **changes: Any) -> Bundle:
        options: dict[str, Any] = {
            "name": "tiny",
            "classes": ("a", "b", "c", "d"),
            "members": [entry],
            "files": {"Tiny": source},
            "command": "bt-export",
        }
        return write_bundle(folder, **(options | changes))

    return make


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_write_bundle_leaves_a_verified_bundle_and_nothing_else(write: Write, place: Path):
    bundle = write(place / "deep" / "er" / "one")
    assert load_bundle(place / "deep" / "er" / "one") == bundle
    assert names(place) == {"deep/er/one/bundle.json", "deep/er/one/Tiny/model.onnx"}


def test_write_bundle_gives_the_same_bytes_twice(write: Write, place: Path):
    assert write(place / "one").sha256 == write(place / "two").sha256


def test_write_bundle_replaces_an_older_bundle(write: Write, place: Path):
    old = write(place / "one", name="old")
    new = write(place / "one", name="new")
    assert old.sha256 != new.sha256 == load_bundle(place / "one").sha256
    assert names(place) == {"one/bundle.json", "one/Tiny/model.onnx"}


def test_write_bundle_replaces_a_damaged_bundle(write: Write, place: Path):
    write(place / "one")
    (place / "one" / "Tiny" / "model.onnx").unlink()
    write(place / "one")
    assert load_bundle(place / "one").name == "tiny"


def test_write_bundle_uses_an_empty_folder(write: Write, place: Path):
    assert write(place).folder == place


def test_write_bundle_into_the_working_directory(write: Write, place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(place)
    write(Path())
    assert names(place) == {"bundle.json", "Tiny/model.onnx"}


@pytest.mark.parametrize(
    "manifest", [None, "{}", "[]", "not json", '{"schema": "webpack/1", "members": []}', '{"schema": 1}']
)
def test_write_bundle_refuses_a_foreign_folder_and_leaves_it(write: Write, place: Path, manifest: str | None):
    (place / "thesis.txt").write_text("three years")
    if manifest is not None:
        (place / "bundle.json").write_text(manifest)
    before = names(place)
    with pytest.raises(
        OutputError, match=r"(thesis.txt|bundle.json), which is not part of a bundle and would be lost"
    ):
        write(place)
    assert names(place) == before
    assert (place / "thesis.txt").read_text() == "three years"


@pytest.mark.parametrize("name", ["notes.txt", "Tiny/other.onnx"])
def test_write_bundle_refuses_a_bundle_with_a_foreign_file_and_leaves_it(write: Write, place: Path, name: str):
    write(place / "one")
    (place / "one" / name).write_text("mine")
    with pytest.raises(OutputError, match=f"{name}, which is not part"):
        write(place / "one", name="new")
    assert (place / "one" / name).read_text() == "mine"


@posix_only
@pytest.mark.parametrize("kind", ["file", "link", "broken link"])
def test_write_bundle_refuses_a_file_or_a_link(write: Write, place: Path, kind: str):
    target, folder = place / "elsewhere", place / "one"
    if kind == "file":
        folder.write_text("a file")
    else:
        if kind == "link":
            target.mkdir()
        folder.symlink_to(target)
    with pytest.raises(OutputError, match="is not a folder"):
        write(folder)
    with pytest.raises(OutputError, match="is not a folder"):
        check_destination(folder)
    assert not names(target) if target.exists() else True


@posix_only
def test_write_bundle_refuses_a_link_inside_an_older_bundle(write: Write, place: Path):
    write(place / "one")
    (place / "one" / "link").symlink_to(place)
    with pytest.raises(OutputError, match="link, which is not part"):
        write(place / "one")


@pytest.fixture
def small_files_only() -> Iterator[Callable[[], None]]:
    """Lets the system refuse to write files of more than 64 bytes, as it refuses when a disk is full."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@posix_only
def test_write_bundle_leaves_the_old_bundle_on_a_full_disk(
    write: Write, place: Path, small_files_only: Callable[[], None]
):
    import resource

    old = write(place / "one", name="old")
    small_files_only()
    with pytest.raises(OutputError, match=r"one cannot be written .*free some space"):
        write(place / "one", name="new")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert load_bundle(place / "one").sha256 == old.sha256
    assert {path.name for path in place.iterdir()} == {"one"}


@posix_only
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_write_bundle_refuses_a_read_only_folder(write: Write, place: Path):
    place.chmod(0o555)
    try:
        with pytest.raises(OutputError, match="Permission denied"):
            write(place / "one")
    finally:
        place.chmod(0o755)


def test_write_bundle_refuses_a_file_as_a_parent(write: Write, place: Path):
    (place / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write(place / "file" / "one")


def test_write_bundle_restores_the_old_bundle_when_the_swap_fails(
    write: Write, place: Path, monkeypatch: pytest.MonkeyPatch
):
    old = write(place / "one", name="old")
    real = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if Path(target) == place / "one" and self.name != "bundle":
            raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OutputError, match="No space left"):
        write(place / "one", name="new")
    assert load_bundle(place / "one").sha256 == old.sha256
    assert {path.name for path in place.iterdir()} == {"one"}


def test_write_bundle_restores_the_old_bundle_when_the_swap_is_interrupted(
    write: Write, place: Path, monkeypatch: pytest.MonkeyPatch
):
    old = write(place / "one", name="old")
    real = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if Path(target) == place / "one" and self.name != "bundle":
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(place / "one", name="new")
    assert load_bundle(place / "one").sha256 == old.sha256


def test_write_bundle_verifies_before_it_replaces(write: Write, place: Path):
    old = write(place / "one")
    with pytest.raises(IntegrityError, match="2 to 1000 different names"):
        write(place / "one", classes=("a", "a", "b", "c"))
    assert load_bundle(place / "one").sha256 == old.sha256
    assert {path.name for path in place.iterdir()} == {"one"}


@posix_only
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_write_bundle_follows_the_umask(write: Write, place: Path, mask: int):
    before = os.umask(mask)
    try:
        write(place / "one")
    finally:
        os.umask(before)
    for path in [place / "one", *(place / "one").rglob("*")]:
        mode = 0o777 if path.is_dir() else 0o666
        assert stat.S_IMODE(path.stat().st_mode) == mode & ~mask, path


@posix_only
def test_write_bundle_leaves_the_old_bundle_when_killed(write: Write, place: Path, small_keras: Callable[..., Path]):
    old = write(place / "one")
    code = (
        "import os, sys, time\n"
        "def stop(handle):\n"
        "    if b'onnx' in os.readlink(f'/dev/fd/{handle}').encode(): print('writing', flush=True); time.sleep(100)\n"
        "os.fsync = stop\n"
        "from braintumor.export.cli import main\n"
        "sys.argv = ['bt-export', sys.argv[1], '--precision', 'fp16', '--bundle', sys.argv[2]]\n"
        "main()\n"
    )
    command = [sys.executable, "-c", code, str(small_keras()), str(place / "one")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
    assert load_bundle(place / "one").sha256 == old.sha256
    assert json.loads((place / "one" / "bundle.json").read_text())["name"] == "tiny"
    # The next one takes away what it left, and not what holds an older bundle.
    aside = place / ".one-old-x1y2z3" / "bundle"
    aside.mkdir(parents=True)
    assert len(list(place.iterdir())) == 4
    write(place / "one")
    assert {path.name for path in place.iterdir()} == {"one", ".one-old-x1y2z3"}
