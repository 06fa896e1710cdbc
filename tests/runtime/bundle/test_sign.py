"""Bundles are signed as the package model-signing signs: what one signs the other verifies."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from braintumor.errors import IntegrityError, UsageError
from braintumor.runtime.bundle.acceptance import write_acceptance
from braintumor.runtime.bundle.folder import SIGNATURE, VERDICT, VERDICT_SIGNATURE
from braintumor.runtime.bundle.load import MANIFEST, load_bundle
from braintumor.runtime.bundle.sign import read_signing_key, sign_bundle
from tests.support.paths import ROOT
from tests.support.signatures import CURVES, write_key_pair, write_keys

from .test_acceptance import VERDICT as ACCEPTED

pytest.importorskip("model_signing", reason="signing needs the extra sign")

PASSPHRASE = "correct horse"  # noqa: S105 - of a key that nobody has

# A process of its own, where any attempt to reach another machine ends it.
WITHOUT_NETWORK = """
import os, sys

def watch(event, arguments):
    if event in {"socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"}:
        print(event, arguments, file=sys.stderr)
        os._exit(99)

sys.addaudithook(watch)
"""


def model_signing(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run its command line."""
    code = f"{WITHOUT_NETWORK}\nfrom model_signing._cli import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def accept(folder: Path) -> None:
    write_acceptance(folder / MANIFEST, load_bundle(folder).details, ACCEPTED)


def sign(folder: Path, private: Path) -> None:
    sign_bundle(folder, read_signing_key(private))


@pytest.mark.parametrize("curve", CURVES)
def test_sign_bundle_with_every_curve(curve: str, copied: Path, tmp_path: Path) -> None:
    private, public = write_key_pair(tmp_path, curve=curve)
    key = read_signing_key(private)
    sign_bundle(copied, key)
    signature = load_bundle(copied, public_key=public).signature
    assert signature is not None
    assert signature.key_sha256 == key.sha256


def test_sign_bundle_moves_the_verdict_out_and_keeps_the_identity(copied: Path, tmp_path: Path) -> None:
    private, public = write_key_pair(tmp_path)
    accept(copied)
    before = load_bundle(copied)
    sign(copied, private)
    after = load_bundle(copied, public_key=public)
    assert (after.sha256, after.acceptance) == (before.sha256, before.acceptance)
    assert json.loads((copied / MANIFEST).read_bytes())["acceptance"] is None
    # A later verdict leaves the signature of the bundle as it is, and is signed on its own.
    signature = (copied / SIGNATURE).read_bytes()
    accept(copied)
    assert load_bundle(copied, public_key=public).acceptance is None
    assert (copied / SIGNATURE).read_bytes() == signature
    sign(copied, private)
    assert load_bundle(copied, public_key=public).acceptance is not None


def test_sign_bundle_again_writes_nothing_but_signatures(copied: Path, tmp_path: Path) -> None:
    private, public = write_key_pair(tmp_path)
    accept(copied)
    sign(copied, private)
    # Any spelling of its JSON, as another program may write it.
    manifest = copied / MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_bytes())))
    before = {name: (copied / name).read_bytes() for name in (MANIFEST, VERDICT)}
    sign(copied, private)
    assert {name: (copied / name).read_bytes() for name in before} == before
    assert load_bundle(copied, public_key=public).acceptance is not None


def test_model_signing_verifies_what_sign_bundle_signed(copied: Path, tmp_path: Path) -> None:
    private, public = write_key_pair(tmp_path, curve="P-384")
    accept(copied)
    sign(copied, private)
    for name in (SIGNATURE, VERDICT_SIGNATURE):
        done = model_signing("verify", "key", copied, "--signature", copied / name, "--public_key", public)
        assert done.returncode == 0, done.stderr
    (copied / VERDICT).write_text("{}")
    for name, code in ((SIGNATURE, 0), (VERDICT_SIGNATURE, 1)):
        done = model_signing("verify", "key", copied, "--signature", copied / name, "--public_key", public)
        assert done.returncode == code, done.stderr


def test_load_bundle_verifies_what_model_signing_signed(copied: Path, tmp_path: Path) -> None:
    private, public = write_key_pair(tmp_path, curve="P-521")
    done = model_signing("sign", "key", copied, "--private_key", private, "--signature", copied / SIGNATURE)
    assert done.returncode == 0, done.stderr
    assert load_bundle(copied, public_key=public).signature is not None
    (copied / "a" / "model.onnx").write_bytes(b"other")
    with pytest.raises(IntegrityError, match="was changed after it was signed"):
        load_bundle(copied, public_key=public)


def test_load_bundle_refuses_a_file_that_model_signing_left_out(copied: Path, tmp_path: Path) -> None:
    private, public = write_key_pair(tmp_path)
    (copied / "a" / "more.bin").write_bytes(b"more")
    done = model_signing(
        *("sign", "key", copied, "--private_key", private, "--signature", copied / SIGNATURE),
        *("--ignore-paths", copied / "a" / "more.bin"),
    )
    assert done.returncode == 0, done.stderr
    with pytest.raises(IntegrityError, match=r"more\.bin, which its bundle\.sig does not cover"):
        load_bundle(copied, public_key=public)


def test_sign_bundle_and_load_bundle_reach_for_no_network(copied: Path, tmp_path: Path) -> None:
    private, public = write_key_pair(tmp_path)
    code = f"""{WITHOUT_NETWORK}
from braintumor.runtime.bundle.load import load_bundle
from braintumor.runtime.bundle.sign import read_signing_key, sign_bundle
sign_bundle({str(copied)!r}, read_signing_key({str(private)!r}))
print(load_bundle({str(copied)!r}, public_key={str(public)!r}).signature.key_sha256)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip()) == 64


def test_load_bundle_verifies_without_the_package_that_signs(copied: Path, tmp_path: Path) -> None:
    private, public = write_key_pair(tmp_path)
    sign(copied, private)
    code = f"""
import sys
for name in ("model_signing", "sigstore", "pydantic", "OpenSSL"):
    sys.modules[name] = None
from braintumor.runtime.bundle.load import load_bundle
load_bundle({str(copied)!r}, public_key={str(public)!r})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_sign_bundle_refuses_damaged_bundle_and_leaves_it(copied: Path, tmp_path: Path) -> None:
    private, _ = write_key_pair(tmp_path)
    (copied / "a" / "model.onnx").write_bytes(b"other")
    with pytest.raises(IntegrityError):
        sign(copied, private)
    assert not (copied / SIGNATURE).exists()


def test_read_signing_key_with_passphrase(copied: Path, tmp_path: Path) -> None:
    private, public = write_key_pair(tmp_path, passphrase=PASSPHRASE)
    key = read_signing_key(private, PASSPHRASE)
    assert PASSPHRASE not in repr(key)
    sign_bundle(copied, key)
    assert load_bundle(copied, public_key=public).signature is not None
    with pytest.raises(UsageError, match="is encrypted"):
        read_signing_key(private)
    with pytest.raises(UsageError, match="passphrase is another"):
        read_signing_key(private, "wrong")


@pytest.mark.parametrize(
    ("key", "part"),
    [
        (ed25519.Ed25519PrivateKey.generate(), "Ed25519"),
        (rsa.generate_private_key(65537, 2048), "RSA"),
        (ec.generate_private_key(ec.SECP256K1()), "secp256k1"),
    ],
)
def test_read_signing_key_refuses_keys_of_other_kinds(key: object, part: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=part):
        read_signing_key(write_keys(tmp_path, key)[0])


def test_read_signing_key_refuses_other_files(tmp_path: Path) -> None:
    private, public = write_key_pair(tmp_path)
    shutil.copy(private, tmp_path / "damaged.pem")
    (tmp_path / "damaged.pem").write_text(private.read_text().replace("MIG", "MIX"))
    for path, part in ((public, "not a private key"), (tmp_path / "missing", "cannot be read")):
        with pytest.raises(UsageError, match=part):
            read_signing_key(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_signing_key(tmp_path / "damaged.pem")
