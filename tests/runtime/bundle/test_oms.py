"""The OMS signature format: what its specification asks of one who verifies with a key, case by case."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from braintumor.errors import IntegrityError, UsageError
from braintumor.runtime.bundle.oms import read_public_key, signed_digests
from tests.support.signatures import CURVES, signature_of, statement_of, write_key_pair, write_keys

FILES = {"bundle.json": b"{}", "a/model.onnx": b"weights"}
WHERE = Path("bundle.sig")

Change = Callable[[Any], object]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_key_pair(tmp_path_factory.mktemp("keys"))


def digests(signature: Any, public_key: Path) -> dict[str, str]:
    raw = signature if isinstance(signature, bytes) else json.dumps(signature).encode()
    return signed_digests(raw, read_public_key(public_key), WHERE)


def refused(signature: Any, public_key: Path) -> str:
    with pytest.raises(IntegrityError) as caught:
        digests(signature, public_key)
    assert caught.value.remedy
    return caught.value.message


@pytest.mark.parametrize("curve", CURVES)
def test_signed_digests_of_every_curve(curve: str, tmp_path: Path) -> None:
    private, public = write_key_pair(tmp_path, curve=curve)
    statement = statement_of(FILES)
    expected = {entry["name"]: entry["digest"] for entry in statement["predicate"]["resources"]}
    assert digests(signature_of(statement, private), public) == expected


def without_log(signature: Any) -> None:
    del signature["verificationMaterial"]["tlogEntries"]


def key_id(value: Any) -> Change:
    return lambda signature: signature["dsseEnvelope"]["signatures"][0].update(keyid=value)


def without_key_id(signature: Any) -> None:
    del signature["dsseEnvelope"]["signatures"][0]["keyid"]


@pytest.mark.parametrize("change", [without_log, without_key_id, key_id(None), key_id("")])
def test_signed_digests_takes_what_verifiers_must_accept(change: Change, keys: tuple[Path, Path]) -> None:
    signature = signature_of(statement_of(FILES), keys[0])
    change(signature)
    assert set(digests(signature, keys[1])) == set(FILES)


def test_signed_digests_ignores_unknown_fields_of_the_statement(keys: tuple[Path, Path]) -> None:
    statement = statement_of(FILES)
    statement["predicate"]["resources"][0]["annotations"] = {"more": 1}
    statement["predicate"]["serialization"]["ignore_paths"] = [".git"]
    assert set(digests(signature_of(statement, keys[0]), keys[1])) == set(FILES)


ENVELOPES: dict[str, Change] = {
    "wrong-mediatype": lambda bundle: bundle.update(mediaType="application/vnd.dev.sigstore.bundle.v0.9+json"),
    "wrong-payload-type": lambda bundle: bundle["dsseEnvelope"].update(payloadType="application/json"),
    "no-signature": lambda bundle: bundle["dsseEnvelope"].update(signatures=[]),
    "two-signatures": lambda bundle: bundle["dsseEnvelope"]["signatures"].append(
        bundle["dsseEnvelope"]["signatures"][0]
    ),
    "empty-signature": lambda bundle: bundle["dsseEnvelope"]["signatures"][0].update(sig=""),
    "not-base64": lambda bundle: bundle["dsseEnvelope"]["signatures"][0].update(sig="!!"),
    "base64-in-another-spelling": lambda bundle: bundle["dsseEnvelope"].update(
        payload=bundle["dsseEnvelope"]["payload"] + "===="
    ),
    "missing-envelope": lambda bundle: bundle.pop("dsseEnvelope"),
    "missing-material": lambda bundle: bundle.pop("verificationMaterial"),
    "a-certificate-in-place-of-the-key": lambda bundle: bundle.update(
        verificationMaterial={"x509CertificateChain": {"certificates": [{"rawBytes": "AAAA"}]}, "tlogEntries": []}
    ),
    "unknown-field": lambda bundle: bundle.update(more=1),
    "key-id": key_id("somebody"),
    "log-entry": lambda bundle: bundle["verificationMaterial"]["tlogEntries"].append({}),
}


@pytest.mark.parametrize("case", ENVELOPES)
def test_signed_digests_refuses_envelope(case: str, keys: tuple[Path, Path]) -> None:
    signature = signature_of(statement_of(FILES), keys[0])
    ENVELOPES[case](signature)
    assert str(WHERE) in refused(signature, keys[1])


STATEMENTS: dict[str, Change] = {
    "wrong-predicate": lambda statement: statement.update(predicateType="https://model_signing/Digests/v0.1"),
    "wrong-statement-type": lambda statement: statement.update(_type="https://in-toto.io/Statement/v0.1"),
    "empty-resources": lambda statement: statement["predicate"].update(resources=[]),
    "missing-serialization": lambda statement: statement["predicate"].pop("serialization"),
    "missing-predicate": lambda statement: statement.pop("predicate"),
    "no-subject": lambda statement: statement.update(subject=[]),
    "another-subject": lambda statement: statement["subject"][0]["digest"].update(sha256="0" * 64),
    "shards": lambda statement: statement["predicate"]["serialization"].update(method="shards", shard_size=1024),
    "blake2b": lambda statement: statement["predicate"]["serialization"].update(hash_type="blake2b"),
    "blake3-of-a-file": lambda statement: statement["predicate"]["resources"][0].update(algorithm="blake3"),
    "md5-of-a-file": lambda statement: statement["predicate"]["resources"][0].update(digest="0" * 32),
    "capital-digits": lambda statement: statement["predicate"]["resources"][0].update(digest="A" * 64),
    "a-file-twice": lambda statement: statement["predicate"]["resources"].append(
        statement["predicate"]["resources"][0]
    ),
}


@pytest.mark.parametrize("case", STATEMENTS)
def test_signed_digests_refuses_statement_that_was_signed_well(case: str, keys: tuple[Path, Path]) -> None:
    statement = statement_of(FILES)
    STATEMENTS[case](statement)
    assert str(WHERE) in refused(signature_of(statement, keys[0]), keys[1])


@pytest.mark.parametrize("raw", [b"", b"not a signature", b"\xff\xfe", b"[" * 100_000, b"{}", b"null"])
def test_signed_digests_refuses_garbage(raw: bytes, keys: tuple[Path, Path]) -> None:
    assert str(WHERE) in refused(raw, keys[1])


def test_signed_digests_refuses_truncated_signature(keys: tuple[Path, Path]) -> None:
    raw = json.dumps(signature_of(statement_of(FILES), keys[0])).encode()
    for length in range(0, len(raw), 97):
        refused(raw[:length], keys[1])


def test_signed_digests_refuses_another_key(keys: tuple[Path, Path], tmp_path: Path) -> None:
    signature = signature_of(statement_of(FILES), keys[0])
    private, public = write_key_pair(tmp_path)
    assert "another key" in refused(signature, public)
    # It says that it was made with the right key, and was not.
    forged = signature_of(statement_of(FILES), private)
    forged["verificationMaterial"] = signature["verificationMaterial"]
    assert "not a signature by the key" in refused(forged, keys[1])


def flipped(raw: bytes, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_signed_digests_refuses_every_flipped_bit(keys: tuple[Path, Path]) -> None:
    signature = signature_of(statement_of(FILES), keys[0])
    raw = json.dumps(signature, separators=(",", ":")).encode()
    begin = raw.index(signature["dsseEnvelope"]["payload"].encode())
    payload = range(8 * (begin + 16), 8 * (begin + len(signature["dsseEnvelope"]["payload"]) - 16))
    # All bits of what no signature covers; of the payload, which is covered, some.
    bits = [bit for bit in range(8 * len(raw)) if bit not in payload or bit % 29 == 0]
    accepted = []
    for bit in bits:
        try:
            digests(flipped(raw, bit), keys[1])
        except IntegrityError:
            continue
        accepted.append((bit, raw[bit // 8 - 8 : bit // 8 + 8]))
    assert not accepted
    assert len(bits) > 3000


def not_a_key(folder: Path) -> Path:
    path = folder / "not-a-key.pub"
    path.write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA me@here\n")
    return path


def damaged(folder: Path) -> Path:
    path = write_key_pair(folder)[1]
    path.write_text(path.read_text().replace("MFk", "MFx"))
    return path


def large(folder: Path) -> Path:
    path = folder / "large.pub"
    path.write_bytes(write_key_pair(folder)[1].read_bytes() + b"\n" * 100_000)
    return path


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda folder: folder / "missing.pub", "cannot be read"),
        (lambda folder: folder, "cannot be read"),
        (lambda folder: write_key_pair(folder)[0], "private key"),
        (not_a_key, "not a key"),
        (damaged, "not a readable public key"),
        (large, "larger than a key"),
        (lambda folder: write_keys(folder, ed25519.Ed25519PrivateKey.generate())[1], "Ed25519"),
        (lambda folder: write_keys(folder, rsa.generate_private_key(65537, 2048))[1], "RSA"),
        (lambda folder: write_keys(folder, ec.generate_private_key(ec.SECP256K1()))[1], "secp256k1"),
        (lambda folder: write_keys(folder, ec.generate_private_key(ec.SECP224R1()))[1], "secp224r1"),
    ],
)
def test_read_public_key_says_what_a_file_is(make: Callable[[Path], Path], part: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_public_key(make(tmp_path))
    assert part in caught.value.message
    assert caught.value.remedy


def test_read_public_key_of_certificate_tells_how_to_take_its_key_out(tmp_path: Path) -> None:
    path = tmp_path / "certificate.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    with pytest.raises(UsageError, match="openssl x509 -in"):
        read_public_key(path)
