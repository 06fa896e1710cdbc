"""Which images have their record: by content and place."""

import hashlib
import os
from pathlib import Path

import pytest

from braintumor.runtime.archive.known import Known, content_hash


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    path.write_bytes(b"an image")
    return path


@pytest.fixture
def known(image: Path) -> Known:
    known = Known()
    known.add(str(image), content_hash(str(image)), failed=False)
    return known


def claim(known: Known, path: Path) -> bool | None:
    return known.claim(str(path), content_hash(str(path)))


def test_claim_knows_a_file_with_the_same_bytes_at_its_path(known: Known, image: Path) -> None:
    assert claim(known, image) is False
    image.write_bytes(b"another image")
    assert claim(known, image) is None


def test_claim_knows_a_path_however_it_is_spelt(known: Known, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(image.parent)
    sha256 = content_hash(str(image))
    for spelling in (image.name, f"./{image.name}", f"../{image.parent.name}/{image.name}"):
        assert known.claim(spelling, sha256) is False


def test_claim_knows_a_moved_file(known: Known, image: Path) -> None:
    moved = image.rename(image.with_name("moved.png"))
    assert claim(known, moved) is False


def test_claim_gives_a_copy_a_record_of_its_own(known: Known, image: Path) -> None:
    copy = image.with_name("copy.png")
    copy.write_bytes(image.read_bytes())
    assert claim(known, copy) is None
    assert claim(known, copy) is False
    assert claim(known, image) is False


def test_claim_lets_one_file_take_the_record_of_a_moved_one(known: Known, image: Path) -> None:
    content = image.read_bytes()
    image.unlink()
    first, second = image.with_name("first.png"), image.with_name("second.png")
    for path in (first, second):
        path.write_bytes(content)
    assert [claim(known, first), claim(known, second)] == [False, None]


def test_claim_takes_a_place_with_other_bytes_for_a_moved_file(known: Known, image: Path) -> None:
    moved = image.rename(image.with_name("moved.png"))
    image.write_bytes(b"another image")
    assert [claim(known, moved), claim(known, image)] == [False, None]


def test_claim_tries_a_failed_image_again_when_its_bytes_change(image: Path) -> None:
    known = Known()
    known.add(str(image), content_hash(str(image)), failed=True)
    assert claim(known, image) is True
    image.write_bytes(b"mended")
    assert claim(known, image) is None


def test_claim_tries_an_unreadable_image_again_when_it_can_be_read(image: Path) -> None:
    known, gone = Known(), image.with_name("gone.png")
    known.add(str(gone), None, failed=True)
    assert claim(known, gone) is True
    assert claim(known, image.with_name("other.png")) is None
    gone.write_bytes(b"here")
    assert claim(known, gone) is None


def test_content_hash_is_none_for_what_cannot_be_an_image(tmp_path: Path, image: Path) -> None:
    assert content_hash(str(image)) == hashlib.sha256(b"an image").hexdigest()
    for path in (str(tmp_path), str(tmp_path / "gone"), "a\0b", "x" * 5000):
        assert content_hash(path) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a named pipe")
def test_content_hash_does_not_wait_for_a_named_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert content_hash(str(tmp_path / "pipe.png")) is None
