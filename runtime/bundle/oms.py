"""Signatures in the OpenSSF Model Signing (OMS) format, by a key pair: read and verified without a network.

A signature is a Sigstore bundle (JSON) with a DSSE envelope, whose payload is an in-toto statement: names and SHA-256
digests of files. Verifying needs `cryptography` alone, not the package `model-signing` that writes signatures
(`braintumor.runtime.bundle.sign`), and is stricter than that: one spelling of each signature is accepted, so that
every bit of one counts, and SHA-256 of whole files is the only digest.

Sources: OMS 1.0, sections 4 to 8; DSSE 1.0 for the bytes that are signed.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

import msgspec

from braintumor.errors import IntegrityError, UsageError
from braintumor.optional import require

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

__all__ = [
    "CURVES",
    "PublicKey",
    "claimed_key",
    "fingerprint",
    "pem_label",
    "read_key_file",
    "read_public_key",
    "signed_digests",
]

CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
"""Curves of keys that sign, by their names in `cryptography`."""

_PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
_MAX_KEY_BYTES: Final = 1 << 16
_SIGN_AGAIN: Final = "sign it again with bt-bundle sign, or copy it again from where it was signed"
_PUBLIC_KEY: Final = "get one from its private key with: openssl ec -in KEY.pem -pubout -out KEY.pub"


class _Exact(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What no signature covers: every field is known, and has one value that it may have."""


class _KeyHint(_Exact):
    hint: str


class _Material(_Exact):
    public_key: _KeyHint
    tlog_entries: Annotated[list[Any], msgspec.Meta(max_length=0)] = []


class _EnvelopeSignature(_Exact):
    sig: str
    keyid: Literal[""] | None = None


class _Envelope(_Exact):
    payload: str
    payload_type: Literal["application/vnd.in-toto+json"]
    signatures: Annotated[list[_EnvelopeSignature], msgspec.Meta(min_length=1, max_length=1)]


class _SigstoreBundle(_Exact):
    media_type: Literal["application/vnd.dev.sigstore.bundle.v0.3+json"]
    verification_material: _Material
    dsse_envelope: _Envelope


_Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class _Resource(msgspec.Struct):
    name: str
    digest: _Sha256
    algorithm: Literal["sha256"]


class _Serialization(msgspec.Struct):
    method: Literal["files"]
    hash_type: Literal["sha256"]
    allow_symlinks: bool


class _Predicate(msgspec.Struct):
    resources: Annotated[list[_Resource], msgspec.Meta(min_length=1)]
    serialization: _Serialization


class _Digests(msgspec.Struct):
    sha256: _Sha256


class _Subject(msgspec.Struct):
    digest: _Digests


class _Statement(msgspec.Struct, rename="camel"):
    type_: Literal["https://in-toto.io/Statement/v1"] = msgspec.field(name="_type")
    subject: Annotated[list[_Subject], msgspec.Meta(min_length=1, max_length=1)]
    predicate_type: Literal["https://model_signing/signature/v1.0"]
    predicate: _Predicate


_Document = TypeVar("_Document", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key that signatures are verified with.

    Attributes:
        path: Its PEM file.
        key: On one of `CURVES`.
        sha256: Its fingerprint: the SHA-256 of its PEM text, by which signatures name it.
    """

    path: Path
    key: "EllipticCurvePublicKey"
    sha256: str


def read_public_key(path: str | Path) -> PublicKey:
    """A public key from its PEM file.

    Raises:
        UsageError: There is no such file, or it holds something else, or a key on another curve.
        UnavailableError: The package `cryptography` is not installed.
    """
    path = Path(path)
    raw = read_key_file(path)
    require("cryptography", extra="verify", purpose="verifying a signature")
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if (label := pem_label(raw)) != "PUBLIC KEY":
        kind = f"a {_plain(label)}" if label else "not a key in PEM"
        remedy = (
            f"take its key out: openssl x509 -in {path} -pubkey -noout" if label == "CERTIFICATE" else _PUBLIC_KEY
        )
        raise UsageError(f"`public_key` {path} is {kind}; must be a public key in PEM", remedy)
    try:
        key = load_pem_public_key(raw)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(f"`public_key` {path} is not a readable public key ({error})", _PUBLIC_KEY) from error
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in CURVES:
        kind = key.curve.name if isinstance(key, EllipticCurvePublicKey) else type(key).__name__.lstrip("_")
        raise UsageError(
            f"`public_key` {path} is a key of another kind ({kind}); must be elliptic, on "
            f"{', '.join(CURVES.values())}",
            "sign with such a key pair: openssl ecparam -name prime256v1 -genkey -noout -out KEY.pem",
        )
    return PublicKey(path, key, fingerprint(key))


def _plain(label: str) -> str:
    """What a PEM file holds, in words: "EC PRIVATE KEY" is a private key."""
    return "private key" if label.endswith("PRIVATE KEY") else label.lower()


def read_key_file(path: Path) -> bytes:
    """The bytes of a file with a key.

    Raises:
        UsageError: It cannot be read, or is too large for a key.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MAX_KEY_BYTES + 1)
    except OSError as error:
        raise UsageError(f"the key {path} cannot be read ({error.strerror or error})", "name its PEM file") from error
    if len(raw) > _MAX_KEY_BYTES:
        raise UsageError(f"{path} is larger than a key ({_MAX_KEY_BYTES} bytes)", "name a PEM file with one key")
    return raw


def pem_label(raw: bytes) -> str:
    """What a PEM file says that it holds, as "PUBLIC KEY"; empty for another file."""
    begin = re.search(rb"^-----BEGIN ([A-Z0-9 ]+)-----", raw, re.MULTILINE)
    return begin[1].decode() if begin else ""


def fingerprint(key: "EllipticCurvePublicKey") -> str:
    """The SHA-256 of a public key's PEM text, 64 hexadecimal digits."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def claimed_key(raw: bytes, where: Path) -> str:
    """The fingerprint of the key that a signature says it was made with; nothing is verified.

    Raises:
        IntegrityError: It is not a signature of a key pair.
    """
    return _decode(raw, _SigstoreBundle, where).verification_material.public_key.hint


def signed_digests(raw: bytes, public_key: PublicKey, where: Path) -> dict[str, str]:
    """The files that a signature names, after the signature itself was verified; none of them is read.

    Args:
        raw: The bytes of the signature.
        public_key: Of the key that it must be made with.
        where: Its path, for messages.

    Returns:
        Name, with forward slashes → SHA-256.

    Raises:
        IntegrityError: It was made with another key, was changed, or is of another kind.
    """
    bundle = _decode(raw, _SigstoreBundle, where)
    hint = bundle.verification_material.public_key.hint
    if hint != public_key.sha256:
        raise IntegrityError(
            f"{where} was made with another key ({hint[:12]!r}…) than {public_key.path} ({public_key.sha256[:12]}…)",
            "name the public key of whoever signed it, or do not use the bundle",
        )
    payload = _from_base64(bundle.dsse_envelope.payload, where)
    signature = _from_base64(bundle.dsse_envelope.signatures[0].sig, where)
    _verify(signature, payload, public_key, where)
    statement = _decode(payload, _Statement, where)
    resources = statement.predicate.resources
    root = hashlib.sha256(b"".join(bytes.fromhex(resource.digest) for resource in resources)).hexdigest()
    digests = {resource.name: resource.digest for resource in resources}
    if root != statement.subject[0].digest.sha256 or len(digests) != len(resources):
        raise IntegrityError(
            f"{where} contradicts itself: its files do not give the digest of its subject", _SIGN_AGAIN
        )
    return digests


def _verify(signature: bytes, payload: bytes, public_key: PublicKey, where: Path) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    try:
        public_key.key.verify(signature, _signed_bytes(payload), ECDSA(_hash_of(public_key.key)))
    except InvalidSignature as error:
        raise IntegrityError(
            f"{where} is not a signature by the key {public_key.path}: it was changed, or forged", _SIGN_AGAIN
        ) from error


def _signed_bytes(payload: bytes) -> bytes:
    """The pre-authentication encoding of DSSE: what is signed of a payload."""
    return b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD_TYPE), _PAYLOAD_TYPE.encode(), len(payload), payload)


def _hash_of(key: "EllipticCurvePublicKey") -> "HashAlgorithm":
    """The hash that Sigstore takes with the curve of a key."""
    from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512

    return {"secp256r1": SHA256(), "secp384r1": SHA384(), "secp521r1": SHA512()}[key.curve.name]


def _decode(raw: bytes, kind: type[_Document], where: Path) -> _Document:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise IntegrityError(
            f"{where} is not a signature that this version reads ({str(error).replace('`', chr(39))})", _SIGN_AGAIN
        ) from error


def _from_base64(text: str, where: Path) -> bytes:
    """Bytes from base64 in its one canonical spelling: other spellings would make a signature with other bytes."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise IntegrityError(f"{where} holds base64 that cannot be decoded ({error})", _SIGN_AGAIN) from error
    if base64.b64encode(decoded) != text.encode():
        raise IntegrityError(f"{where} holds base64 in an unusual spelling", _SIGN_AGAIN)
    return decoded
