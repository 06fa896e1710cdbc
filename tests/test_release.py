"""What is released is the same byte for byte wherever it is packed, and its sums can be checked."""

import hashlib
import io
import tarfile
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from tests.support.ci_scripts import ci_script
from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def release() -> ModuleType:
    return ci_script("release")


def packed(path: Path, names: list[str], *, mtime: int, mode: int, owner: str) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode, member.uname = len(name), mtime, mode, owner
            archive.addfile(member, io.BytesIO(name.encode()))
    return path


def test_repack_gives_the_same_bytes_for_the_same_files(release: ModuleType, tmp_path: Path) -> None:
    first = packed(tmp_path / "first.tar.gz", ["p/a.py", "p/b.py"], mtime=1_700_000_000, mode=0o644, owner="root")
    second = packed(tmp_path / "second.tar.gz", ["p/b.py", "p/a.py"], mtime=1_800_000_000, mode=0o600, owner="me")
    assert first.read_bytes() != second.read_bytes()
    release.repack(first, 1_750_000_000)
    release.repack(second, 1_750_000_000)
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        assert [member.name for member in archive] == ["p/a.py", "p/b.py"]
        assert {member.mtime for member in archive} == {1_750_000_000}
        content = archive.extractfile("p/b.py")
        assert content
        assert content.read() == b"p/b.py"


def test_repack_keeps_what_differs(release: ModuleType, tmp_path: Path) -> None:
    first = packed(tmp_path / "first.tar.gz", ["p/a.py"], mtime=1, mode=0o644, owner="me")
    second = packed(tmp_path / "second.tar.gz", ["p/a.py"], mtime=1, mode=0o755, owner="me")
    release.repack(first, 1)
    release.repack(second, 1)
    assert first.read_bytes() != second.read_bytes()


def test_write_sums_lists_every_file(release: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "b.whl").write_bytes(b"wheel")
    (tmp_path / "a.tar.gz").write_bytes(b"sdist")
    release.write_sums(tmp_path)
    lines = (tmp_path / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    assert [line.split("  ")[1] for line in lines] == ["a.tar.gz", "b.whl"]
    assert lines[1].split("  ")[0] == hashlib.sha256(b"wheel").hexdigest()


def test_ci_calls_existing_make_targets() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = [line.partition("run: make ")[2] for line in workflow.splitlines() if "run: make " in line]
    assert len(commands) >= 4
    for target in {word for command in commands for word in command.split() if "=" not in word}:
        assert f"\n{target}:" in makefile


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.name)
def test_forge_files_are_yaml(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)
