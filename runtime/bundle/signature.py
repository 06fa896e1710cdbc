"""Verifying a signed bundle: all of its files are compared with its signature before any of them is parsed."""

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from braintumor.errors import IntegrityError
from braintumor.files import sha256_of
from braintumor.runtime.bundle.folder import (
    BESIDE,
    MANIFEST,
    SIGNATURE,
    VERDICT,
    VERDICT_SIGNATURE,
    file_names,
    read_beside,
)
from braintumor.runtime.bundle.oms import PublicKey, read_public_key, signed_digests

__all__ = ["Signature", "verify_signature"]

_COPY_AGAIN: Final = "copy it again from where it was signed, or sign it again with bt-bundle sign"


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that was verified.

    Attributes:
        public_key: The PEM file of the key.
        key_sha256: The fingerprint of the key: the SHA-256 of its public PEM text.
        verdict: The bytes of a verdict that the same key signed; None for none.
        unsigned_verdict: There is a verdict without a signature of its own: it is not read.
        digests: Name → SHA-256 of each file of the bundle, as it was read and as it was signed.
    """

    public_key: Path
    key_sha256: str
    verdict: bytes | None = None
    unsigned_verdict: bool = False
    digests: Mapping[str, str] = field(default_factory=dict, repr=False)


def verify_signature(root: Path, manifest: bytes, public_key: str | Path) -> Signature:
    """Compare all files of a bundle with its signature; nothing but the signature is parsed.

    Args:
        root: The bundle's folder.
        manifest: The bytes of its `bundle.json`, which the caller goes on with.
        public_key: The PEM file of the key that it must be signed with.

    Raises:
        IntegrityError: It is not signed, or with another key, or a file was changed, added or removed.
        UsageError: There is no such key.
        UnavailableError: The package `cryptography` is not installed.
    """
    key = read_public_key(public_key)
    raw = read_beside(root, SIGNATURE)
    if raw is None:
        raise IntegrityError(
            f"{root} is not signed: it has no {SIGNATURE}",
            f"take a bundle that is signed, or sign it with: bt-bundle sign --key KEY {shlex.quote(str(root))}",
        )
    digests = signed_digests(raw, key, root / SIGNATURE)
    _check_names(root, digests)
    present = {MANIFEST: hashlib.sha256(manifest).hexdigest()}
    for name in (MANIFEST, *digests):
        if (present.get(name) or _digest(root / name)) != digests[name]:
            raise IntegrityError(f"{root / name} was changed after it was signed", _COPY_AGAIN)
    return replace(_with_verdict(root, key), digests=digests)


def _check_names(root: Path, digests: Mapping[str, str]) -> None:
    present = file_names(root)
    if missing := sorted({MANIFEST, *digests} - present):
        raise IntegrityError(f"{root} and its {SIGNATURE} do not both have {', '.join(missing)}", _COPY_AGAIN)
    if unsigned := sorted(present - BESIDE - digests.keys()):
        raise IntegrityError(
            f"{root} holds {', '.join(unsigned)}, which its {SIGNATURE} does not cover", "remove it from the folder"
        )
    if MANIFEST not in digests:
        raise IntegrityError(f"{root / SIGNATURE} does not cover {MANIFEST}", _COPY_AGAIN)


def _digest(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read ({error.strerror or error})", "check its permissions") from error


def _with_verdict(root: Path, key: PublicKey) -> Signature:
    verdict, signature = read_beside(root, VERDICT), read_beside(root, VERDICT_SIGNATURE)
    if verdict is None or signature is None:
        if signature is not None:
            raise IntegrityError(f"{root} has a {VERDICT_SIGNATURE} without {VERDICT}", _COPY_AGAIN)
        return Signature(key.path, key.sha256, unsigned_verdict=verdict is not None)
    digests = signed_digests(signature, key, root / VERDICT_SIGNATURE)
    if digests != {VERDICT: hashlib.sha256(verdict).hexdigest()}:
        raise IntegrityError(f"{root / VERDICT} was changed after it was signed", _COPY_AGAIN)
    return Signature(key.path, key.sha256, verdict)
