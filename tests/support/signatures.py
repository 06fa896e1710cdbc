"""Key pairs, and signatures in the OMS format that are written by hand: by other code than that which is tested."""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
CURVES: Mapping[str, tuple[ec.EllipticCurve, hashes.HashAlgorithm]] = {
    "P-256": (ec.SECP256R1(), hashes.SHA256()),
    "P-384": (ec.SECP384R1(), hashes.SHA384()),
    "P-521": (ec.SECP521R1(), hashes.SHA512()),
}


def write_key_pair(folder: Path, name: str = "key", curve: str = "P-256", passphrase: str = "") -> tuple[Path, Path]:
    """The files of a new private key and of its public key."""
    return write_keys(folder, ec.generate_private_key(CURVES[curve][0]), name, passphrase)


def write_keys(folder: Path, key: Any, name: str = "key", passphrase: str = "") -> tuple[Path, Path]:
    """The files of a private key and of its public key."""
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def statement_of(files: Mapping[str, bytes]) -> dict[str, Any]:
    """An in-toto statement on the content of files, as the specification describes it."""
    digests = {name: hashlib.sha256(raw) for name, raw in sorted(files.items())}
    root = hashlib.sha256(b"".join(digest.digest() for digest in digests.values())).hexdigest()
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "model", "digest": {"sha256": root}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "resources": [
                {"name": name, "algorithm": "sha256", "digest": digest.hexdigest()}
                for name, digest in digests.items()
            ],
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
        },
    }


def signature_of(statement: Any, private_key: Path) -> dict[str, Any]:
    """A Sigstore bundle with a good signature over any payload."""
    key: Any = load_pem_private_key(private_key.read_bytes(), None)
    payload = statement if isinstance(statement, bytes) else json.dumps(statement).encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    algorithm = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}[key.key_size]
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": hashlib.sha256(public).hexdigest()}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(key.sign(signed, ec.ECDSA(algorithm))).decode(), "keyid": ""}],
        },
    }


def files_of(folder: Path) -> dict[str, bytes]:
    """Name → content of all files of a bundle that a signature covers."""
    beside = {"bundle.sig", "verdict.json", "verdict.sig"}
    names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in names.items() if name not in beside}


def write_signature(
    folder: Path, private_key: Path, files: Mapping[str, bytes] | None = None, name: str = "bundle.sig"
) -> None:
    """Sign a bundle, or what is given as its files."""
    statement = statement_of(files_of(folder) if files is None else files)
    (folder / name).write_text(json.dumps(signature_of(statement, private_key), separators=(",", ":")))
