"""A text file appears whole or not at all, and a failure leaves what was there before."""

import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from braintumor.errors import OutputError
from braintumor.files import atomic_text, sha256_of

READ = "import pathlib, sys; print(end=pathlib.Path(sys.argv[1]).read_text())"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_sha256_of_is_the_hash_of_the_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000  # more than one chunk
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_atomic_text_writes_at_the_end_of_the_block(tmp_path: Path) -> None:
    path = tmp_path / "répönse.txt"
    with atomic_text(path) as stream:
        stream.write("é\r\n\n")
        assert not path.exists()
    assert path.read_bytes() == "é\r\n\n".encode()
    assert names(tmp_path) == {path.name}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, OSError])
def test_atomic_text_keeps_the_old_content_on_any_exception(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "answers.json"
    path.write_text("old")
    expected = OutputError if error is OSError else error

    def fail() -> None:
        with atomic_text(path) as stream:
            stream.write("new")
            raise error

    with pytest.raises(expected):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == {path.name}


def test_atomic_text_keeps_the_old_content_on_a_full_disk(tiny_disk: Path) -> None:
    path = tiny_disk / "answers.json"
    path.write_text("old")

    def fill() -> None:
        with atomic_text(path) as stream:
            stream.write("new" * 100_000)

    with pytest.raises(OutputError, match=r"answers\.json cannot be written \(No space left.*free some space"):
        fill()
    assert path.read_text() == "old"
    assert names(tiny_disk) == {path.name}


def test_atomic_text_raises_output_error_for_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file or directory"), atomic_text(tmp_path / "no" / "x"):
        pytest.fail("the block must not run")


def test_atomic_text_writes_the_longest_name(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    with atomic_text(path) as stream:
        stream.write("x")
    assert path.read_text() == "x"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_atomic_text_keeps_permissions(tmp_path: Path) -> None:
    path = tmp_path / "answers.json"
    path.touch(mode=0o600)
    with atomic_text(path) as stream:
        stream.write("x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_atomic_text_replaces_the_target_of_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    with atomic_text(link) as stream:
        stream.write("new")
    assert link.is_symlink()
    assert target.read_text() == "new"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_atomic_text_writes_directly_into_devices_and_pipes(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen([sys.executable, "-c", READ, str(pipe)], stdout=subprocess.PIPE, text=True) as reader:
        with atomic_text(pipe) as stream:
            stream.write("through")
        assert reader.stdout is not None
        assert reader.stdout.read() == "through"
    assert stat.S_ISFIFO(pipe.stat().st_mode)
