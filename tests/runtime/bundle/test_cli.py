"""`bt-bundle`: what a bundle is, whether it is signed, copies of it."""

import json
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from braintumor.runtime.bundle.acceptance import write_acceptance
from braintumor.runtime.bundle.cli import main
from braintumor.runtime.bundle.load import MANIFEST, load_bundle
from tests.support.signatures import write_key_pair, write_signature

from .test_acceptance import VERDICT as ACCEPTED

PASSPHRASE = "secret"  # noqa: S105 - of a key that nobody has


def run(*arguments: str | Path, code: int = 0, typed: str | None = None) -> Result:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments], input=typed)
    assert done.exit_code == code, (done.output, done.exception)
    return done


def shown(*arguments: str | Path) -> Any:
    return json.loads(run(*arguments, "--format", "json").stdout)


def test_show_gives_all_of_a_bundle(three: Path) -> None:
    bundle, document = load_bundle(three), shown("show", three)
    assert document["schema"] == "braintumor.bundle-summary/1"
    assert (document["sha256"], document["precision"]) == (bundle.sha256, "fp32")
    assert [(member["name"], member["weight"]) for member in document["members"]] == [("a", 1), ("b", 2), ("c", 3)]
    files = [path for path in three.rglob("*") if path.is_file()]
    assert document["files"] == len(files)
    assert document["size_bytes"] == sum(path.stat().st_size for path in files)
    assert (document["verdict"], document["cascade"], document["signature"]) == (None, None, None)
    text = run("show", three).stdout
    assert all(part in text for part in (bundle.sha256, "fp32", "glioma", "not judged", "not signed", "48x40"))


def test_show_tells_whether_a_signature_was_verified(copied: Path, tmp_path: Path) -> None:
    private, public = write_key_pair(tmp_path)
    write_signature(copied, private)
    write_acceptance(copied / MANIFEST, load_bundle(copied).details, ACCEPTED)
    seen = shown("show", copied)
    assert (seen["signature"]["verified"], seen["signature"]["verdict"]) == (False, "unsigned")
    assert seen["verdict"]["status"] == "accepted"
    verified = shown("show", copied, "--require-signature", public)
    assert verified["signature"] == seen["signature"] | {"verified": True}
    assert verified["verdict"] is None
    assert "not verified" in run("show", copied).stdout


def test_show_of_another_kind_of_signature(copied: Path) -> None:
    (copied / "bundle.sig").write_text("{}")
    assert shown("show", copied)["signature"]["key_sha256"] is None
    assert "does not read" in run("show", copied).stdout


def test_sign_and_verify(copied: Path, tmp_path: Path) -> None:
    pytest.importorskip("model_signing")
    private, public = write_key_pair(tmp_path)
    assert "is not signed" in run("verify", copied, "--public-key", public, code=4).stderr
    run("sign", copied, "--key", private)
    assert "verified" in run("verify", copied, "--public-key", public).stdout
    (copied / "a" / "model.onnx").write_bytes(b"other")
    failed = run("verify", copied, "--public-key", public, code=4)
    assert "model.onnx was changed after it was signed" in failed.stderr
    assert failed.stderr.count("\n") == 1
    assert "must be a public key" in run("verify", copied, "--public-key", private, code=2).stderr


def test_sign_takes_the_passphrase_of_the_environment(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("model_signing")
    private, public = write_key_pair(tmp_path, passphrase=PASSPHRASE)
    assert "BRAINTUMOR_KEY_PASSPHRASE" in run("sign", copied, "--key", private, code=2).stderr
    monkeypatch.setenv("BRAINTUMOR_KEY_PASSPHRASE", PASSPHRASE)
    run("sign", copied, "--key", private)
    run("verify", copied, "--public-key", public)


def test_sign_without_the_package_tells_how_to_get_it(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    private, _ = write_key_pair(tmp_path)
    assert "braintumor[sign]" in run("sign", copied, "--key", private, code=5).stderr


def test_verify_without_the_package_tells_how_to_get_it(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = write_key_pair(tmp_path)
    write_signature(copied, private)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    assert "braintumor[verify]" in run("verify", copied, "--public-key", public, code=5).stderr


def test_list_names_each_bundle_and_what_is_damaged(single: Path, three: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundles"
    shutil.copytree(single, folder / "one")
    shutil.copytree(three, folder / "three")
    (folder / "notes").mkdir()
    lines = run("list", folder).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["one", "three"]
    assert [document["name"] for document in shown("list", folder)] == ["single", "three"]
    (folder / "one" / "a" / "model.onnx").write_bytes(b"other")
    done = run("list", folder, code=4)
    assert "model.onnx" in done.stdout.splitlines()[0]
    assert len(done.stdout.splitlines()) == 2
    assert "holds no bundle" in run("list", folder / "notes", code=2).stderr


def test_diff_says_what_differs(single: Path, half: Path, three: Path, copied: Path) -> None:
    assert run("diff", single, copied).stdout == "the same bundle\n"
    assert "a: precision: fp32 -> fp16" in run("diff", single, half, code=3).stdout.splitlines()
    members = run("diff", single, three, code=3).stdout.splitlines()
    assert "b: none -> a member" in members
    write_acceptance(copied / MANIFEST, load_bundle(copied).details, ACCEPTED)
    document = json.loads(run("diff", single, copied, "--format", "json").stdout)
    assert document["same_identity"]
    assert [difference["what"] for difference in document["differences"]] == ["verdict"]


def test_diff_sees_each_field_that_decides(copied: Path, single: Path) -> None:
    path = copied / MANIFEST
    original = json.loads(path.read_bytes())
    original.pop("checksum")
    for field, value in (("weight", 2.0), ("crop", "head"), ("resize", "nearest")):
        changed = json.loads(json.dumps(original))
        changed["members"][0][field] = value
        path.write_text(json.dumps(changed))
        assert str(value).removesuffix(".0") in run("diff", single, copied, code=3).stdout
    path.write_text(json.dumps(original | {"something": "else"}))
    assert "decide nothing known here" in run("diff", single, copied, code=3).stdout


def test_copy_brings_all_files_and_verifies_them(copied: Path, tmp_path: Path) -> None:
    private, public = write_key_pair(tmp_path)
    write_signature(copied, private)
    write_acceptance(copied / MANIFEST, load_bundle(copied).details, ACCEPTED)
    stick = tmp_path / "stick"
    stick.mkdir()
    run("copy", copied, stick, "--require-signature", public)
    run("copy", copied, tmp_path / "new" / "place")
    for copy in (stick / "copied", tmp_path / "new" / "place"):
        assert load_bundle(copy, public_key=public).sha256 == load_bundle(copied).sha256
        assert {path.name for path in copy.iterdir()} == {path.name for path in copied.iterdir()}
        if os.name != "nt":
            umask = os.umask(0)
            os.umask(umask)
            assert stat.S_IMODE(copy.stat().st_mode) == 0o777 & ~umask
    assert [path.name for path in stick.iterdir()] == ["copied"]


def test_copy_leaves_what_is_there(copied: Path, single: Path, tmp_path: Path) -> None:
    target = tmp_path / "there"
    shutil.copytree(single, target)
    assert "is there already" in run("copy", copied, target, code=2).stderr
    (copied / "a" / "model.onnx").write_bytes(b"other")
    run("copy", copied, tmp_path / "new", code=4)
    assert not (tmp_path / "new").exists()


def test_remove_asks_and_removes_nothing_else(copied: Path, single: Path) -> None:
    assert "--yes" in run("remove", copied, code=2).stderr
    (copied / "notes.txt").write_text("mine")
    assert "notes.txt" in run("remove", copied, "--yes", code=2).stderr
    (copied / "notes.txt").unlink()
    assert copied.is_dir()
    # A damaged bundle, too.
    (copied / "a" / "model.onnx").write_bytes(b"other")
    run("remove", copied, "--yes")
    assert not copied.exists()
    assert not [path for path in copied.parent.iterdir() if "removed" in path.name]
    assert "is not a bundle" in run("remove", copied.parent, "--yes", code=2).stderr
    link = copied.parent / "link"
    link.symlink_to(single)
    assert "is not a bundle" in run("remove", link, "--yes", code=2).stderr
    assert single.is_dir()


@pytest.mark.parametrize(("answer", "there"), [("n\n", True), ("\n", True), ("y\n", False)])
def test_remove_does_what_is_answered(
    answer: str, there: bool, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)
    run("remove", copied, typed=answer)
    assert copied.exists() == there
