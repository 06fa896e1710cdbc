"""A bundle that must be signed is refused before anything of it is parsed, whatever was changed."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import braintumor
from braintumor.errors import IntegrityError, UsageError
from braintumor.runtime.bundle import load
from braintumor.runtime.bundle.acceptance import write_acceptance
from braintumor.runtime.bundle.folder import SIGNATURE, VERDICT, VERDICT_SIGNATURE
from braintumor.runtime.bundle.load import MANIFEST, load_bundle
from braintumor.runtime.bundle_lines import caution_lines
from tests.support.signatures import files_of, write_key_pair, write_signature

from .test_acceptance import VERDICT as ACCEPTED

Keys = tuple[Path, Path]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return write_key_pair(tmp_path_factory.mktemp("keys"))


def accept(folder: Path) -> None:
    write_acceptance(folder / MANIFEST, load_bundle(folder).details, ACCEPTED)


def sign_verdict(folder: Path, private: Path) -> None:
    write_signature(folder, private, {VERDICT: (folder / VERDICT).read_bytes()}, VERDICT_SIGNATURE)


@pytest.fixture
def signed(copied: Path, keys: Keys) -> Path:
    """A signed bundle with a signed verdict, to be damaged."""
    write_signature(copied, keys[0])
    accept(copied)
    sign_verdict(copied, keys[0])
    return copied


def refusal(folder: Path, public: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The message of a refusal, during which nothing of the bundle may be parsed."""

    def parsed(*_: Any) -> Any:
        pytest.fail("something of the bundle was parsed")

    with monkeypatch.context() as patch:
        for name in ("parse_bundle", "parse_verdict", "parse_cascade", "check_model"):
            patch.setattr(load, name, parsed)
        with pytest.raises(IntegrityError) as caught:
            load_bundle(folder, public_key=public)
    assert caught.value.exit_code == 4
    assert caught.value.remedy
    return caught.value.message


def test_load_bundle_verifies_signature_and_verdict(signed: Path, single: Path, keys: Keys) -> None:
    bundle = load_bundle(signed, public_key=keys[1])
    assert bundle.sha256 == load_bundle(single).sha256
    assert bundle.signature is not None
    assert bundle.signature.verdict
    assert bundle.acceptance is not None
    assert bundle.acceptance["status"] == "accepted"
    # Without a key it is read as well, with the same verdict.
    assert load_bundle(signed).acceptance == bundle.acceptance
    assert load_bundle(signed).signature is None


def test_load_bundle_refuses_unsigned_bundle(copied: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "is not signed" in refusal(copied, keys[1], monkeypatch)


def test_load_bundle_refuses_another_key(signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "another key" in refusal(signed, write_key_pair(tmp_path, "other")[1], monkeypatch)


def test_load_bundle_refuses_missing_key(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing\.pub cannot be read"):
        load_bundle(copied, public_key=tmp_path / "missing.pub")


def refuse_flipped(path: Path, bits: Iterable[int], folder: Path, public: Path) -> int:
    """Flip bits of a file one by one, and see each refused; the number of them."""
    raw = path.read_bytes()
    count = 0
    with pytest.MonkeyPatch.context() as patch:
        for bit in bits:
            changed = bytearray(raw)
            changed[bit // 8] ^= 1 << bit % 8
            path.write_bytes(changed)
            assert path.name in refusal(folder, public, patch), bit
            count += 1
    path.write_bytes(raw)
    return count


def test_load_bundle_refuses_flipped_bits_of_all_files(signed: Path, keys: Keys) -> None:
    count = 0
    for path in sorted(path for path in signed.rglob("*") if path.is_file()):
        size = 8 * path.stat().st_size
        count += refuse_flipped(path, range(0, size, size // 199), signed, keys[1])
    assert load_bundle(signed, public_key=keys[1])
    assert count > 1000


@pytest.mark.slow
@pytest.mark.parametrize("name", [MANIFEST, SIGNATURE, VERDICT, VERDICT_SIGNATURE])
def test_load_bundle_refuses_every_flipped_bit(name: str, signed: Path, keys: Keys) -> None:
    path = signed / name
    assert refuse_flipped(path, range(8 * path.stat().st_size), signed, keys[1]) > 2000


def test_load_bundle_refuses_change_with_fitting_hashes(
    signed: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As whoever can write into the folder, and has no private key, would do it."""
    manifest = json.loads((signed / MANIFEST).read_bytes())
    manifest["members"][0]["weight"] = 2.0
    manifest.pop("checksum")
    (signed / MANIFEST).write_text(json.dumps(manifest))
    (signed / VERDICT).unlink()
    (signed / VERDICT_SIGNATURE).unlink()
    assert load_bundle(signed).members[0].weight == 2
    assert MANIFEST in refusal(signed, keys[1], monkeypatch)


def add_file(folder: Path) -> None:
    (folder / "a" / "more.bin").write_bytes(b"more")


def add_hidden_file(folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_bytes(b"more")


def remove_model(folder: Path) -> None:
    (folder / "a" / "model.onnx").unlink()


def rename_model(folder: Path) -> None:
    (folder / "a" / "model.onnx").rename(folder / "a" / "Model.onnx")


def link_model(folder: Path) -> None:
    path = folder / "a" / "model.onnx"
    path.rename(folder.parent / "elsewhere.onnx")
    path.symlink_to(folder.parent / "elsewhere.onnx")


def link_manifest(folder: Path) -> None:
    path = folder / MANIFEST
    path.rename(folder.parent / "elsewhere.json")
    path.symlink_to(folder.parent / "elsewhere.json")


def link_signature(folder: Path) -> None:
    path = folder / SIGNATURE
    path.rename(folder.parent / "elsewhere.sig")
    path.symlink_to(folder.parent / "elsewhere.sig")


def empty_signature(folder: Path) -> None:
    (folder / SIGNATURE).write_bytes(b"")


def long_signature(folder: Path) -> None:
    with (folder / SIGNATURE).open("ab") as stream:
        stream.write(b" " * (1 << 20))


def signature_is_a_folder(folder: Path) -> None:
    (folder / SIGNATURE).unlink()
    (folder / SIGNATURE).mkdir()


def signature_of_the_verdict_in_place(folder: Path) -> None:
    shutil.copy(folder / VERDICT_SIGNATURE, folder / SIGNATURE)


def verdict_signature_alone(folder: Path) -> None:
    (folder / VERDICT).unlink()


def bundle_signature_on_the_verdict(folder: Path) -> None:
    shutil.copy(folder / SIGNATURE, folder / VERDICT_SIGNATURE)


@pytest.mark.parametrize(
    "change",
    [
        add_file,
        add_hidden_file,
        remove_model,
        rename_model,
        link_model,
        link_manifest,
        link_signature,
        empty_signature,
        long_signature,
        signature_is_a_folder,
        signature_of_the_verdict_in_place,
        verdict_signature_alone,
        bundle_signature_on_the_verdict,
    ],
)
def test_load_bundle_refuses_change_of_a_signed_bundle(
    change: Any, signed: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(signed)
    assert str(signed) in refusal(signed, keys[1], monkeypatch)


@pytest.mark.parametrize("left_out", [MANIFEST, "a/model.onnx"])
def test_load_bundle_refuses_signature_over_a_part(
    left_out: str, signed: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = files_of(signed)
    del files[left_out]
    write_signature(signed, keys[0], files)
    assert left_out in refusal(signed, keys[1], monkeypatch)


@pytest.mark.parametrize("name", ["../outside.bin", "/etc/hostname", "a/../a/model.onnx", "./bundle.json"])
def test_load_bundle_follows_no_path_of_a_signature(
    name: str, signed: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    (signed.parent / "outside.bin").write_bytes(b"outside")
    write_signature(signed, keys[0], files_of(signed) | {name: b"outside"})
    assert name in refusal(signed, keys[1], monkeypatch)


def test_load_bundle_leaves_out_a_verdict_that_is_not_signed(signed: Path, keys: Keys) -> None:
    (signed / VERDICT_SIGNATURE).unlink()
    # Not even JSON: it is not looked at.
    (signed / VERDICT).write_bytes(b"\0")
    bundle = load_bundle(signed, public_key=keys[1])
    assert bundle.acceptance is None
    assert any("bt-bundle sign" in line for line in caution_lines(bundle))
    with pytest.raises(IntegrityError, match="not JSON"):
        load_bundle(signed)


def test_load_bundle_refuses_the_signed_verdict_on_another_bundle(
    signed: Path, half: Path, tmp_path: Path, keys: Keys
) -> None:
    other = Path(shutil.copytree(half, tmp_path / "other"))
    write_signature(other, keys[0])
    for name in (VERDICT, VERDICT_SIGNATURE):
        shutil.copy(signed / name, other / name)
    with pytest.raises(IntegrityError, match="carries a verdict on the bundle"):
        load_bundle(other, public_key=keys[1])


def test_write_acceptance_keeps_a_bundle_signed_and_its_verdict_unsigned(signed: Path, keys: Keys) -> None:
    before = {name: (signed / name).read_bytes() for name in (MANIFEST, SIGNATURE)}
    write_acceptance(signed / MANIFEST, load_bundle(signed).details, ACCEPTED | {"status": "refused"})
    assert {name: (signed / name).read_bytes() for name in before} == before
    bundle = load_bundle(signed, public_key=keys[1])
    assert bundle.acceptance is None
    present = load_bundle(signed).acceptance
    assert present is not None
    assert present["status"] == "refused"


def test_load_bundle_refuses_files_beside_that_are_too_large(copied: Path) -> None:
    (copied / VERDICT).write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(IntegrityError, match="more than 1048576 bytes"):
        load_bundle(copied)


def test_ensemble_load_requires_a_signature(
    signed: Path, copied: Path, single: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with braintumor.Ensemble.load(signed, engine="onnxruntime-cpu", public_key=keys[1]) as ensemble:
        assert ensemble.bundle.signature is not None
    with pytest.raises(IntegrityError, match="is not signed"):
        braintumor.Ensemble.load(single, engine="onnxruntime-cpu", public_key=keys[1])
    with pytest.raises(UsageError, match="load_bundle"):
        braintumor.Ensemble.load(load_bundle(copied), public_key=keys[1])
    # The models that come with the package are not exported to be refused.
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IntegrityError, match="are not signed"):
        braintumor.Ensemble.load(engine="onnxruntime-cpu", public_key=keys[1])
