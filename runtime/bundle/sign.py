"""Signing a bundle with a private key, by the package `model-signing`, without a network.

A signed bundle carries `bundle.sig` over all files that its `bundle.json` lists and that file itself. Its verdict
lies in `verdict.json` with a signature of its own, `verdict.sig`, so that it can change and the bundle stays signed.
"""

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from braintumor.errors import UsageError
from braintumor.files import atomic_text
from braintumor.optional import require
from braintumor.runtime.bundle.acceptance import ACCEPTANCE, manifest_text
from braintumor.runtime.bundle.folder import BESIDE, MANIFEST, SIGNATURE, VERDICT, VERDICT_SIGNATURE
from braintumor.runtime.bundle.load import Bundle, load_bundle
from braintumor.runtime.bundle.oms import CURVES, fingerprint, pem_label, read_key_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = ["PASSPHRASE_VARIABLE", "SigningKey", "is_encrypted", "read_signing_key", "sign_bundle"]

PASSPHRASE_VARIABLE: Final = "BRAINTUMOR_KEY_PASSPHRASE"  # noqa: S105 - its name
"""The environment variable with the passphrase of an encrypted key."""

_EXTRA: Final = "sign"
_PURPOSE: Final = "signing a bundle"
_NEW_KEY: Final = "make one with: openssl ecparam -name prime256v1 -genkey -noout -out KEY.pem"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key that can sign.

    Attributes:
        path: Its PEM file.
        passphrase: Of the file; None for one that is not encrypted.
        sha256: The fingerprint of its public key: the SHA-256 of the PEM text.
    """

    path: Path
    passphrase: bytes | None
    sha256: str

    def __repr__(self) -> str:
        """Without the passphrase."""
        return f"SigningKey({str(self.path)!r}, sha256={self.sha256!r})"


def is_encrypted(path: str | Path) -> bool:
    """Whether the file of a private key needs a passphrase.

    Raises:
        UsageError: It cannot be read.
    """
    raw = read_key_file(Path(path))
    return pem_label(raw) == "ENCRYPTED PRIVATE KEY" or b"Proc-Type: 4,ENCRYPTED" in raw


def read_signing_key(path: str | Path, passphrase: str | None = None) -> SigningKey:
    """A private key from its PEM file, and whether this installation can sign with it.

    Args:
        path: The file.
        passphrase: Of an encrypted one.

    Raises:
        UsageError: There is no such file, it holds something else, a key on another curve, or is encrypted with
            another passphrase.
        UnavailableError: The package `model-signing` is not installed.
    """
    path = Path(path)
    raw = read_key_file(path)
    for module in ("cryptography", "model_signing"):
        require(module, extra=_EXTRA, purpose=_PURPOSE)
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if not pem_label(raw).endswith("PRIVATE KEY"):
        raise UsageError(f"`key` {path} is not a private key in PEM", _NEW_KEY)
    encoded = passphrase.encode() if passphrase is not None and is_encrypted(path) else None
    try:
        key = load_pem_private_key(raw, encoded)
    except TypeError as error:
        raise UsageError(
            f"`key` {path} is encrypted", f"type its passphrase, or set ${PASSPHRASE_VARIABLE}"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        wrong = "its passphrase is another, or it is damaged" if encoded else f"it cannot be read ({error})"
        raise UsageError(f"`key` {path}: {wrong}", _NEW_KEY) from error
    return SigningKey(path, encoded, fingerprint(_on_known_curve(key, path).public_key()))


def _on_known_curve(key: object, path: Path) -> "EllipticCurvePrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name in CURVES:
        return key
    kind = key.curve.name if isinstance(key, EllipticCurvePrivateKey) else type(key).__name__.lstrip("_")
    raise UsageError(
        f"`key` {path} is of another kind ({kind}); must be elliptic, on {', '.join(CURVES.values())}", _NEW_KEY
    )


def sign_bundle(folder: str | Path, key: SigningKey) -> Bundle:
    """Sign a bundle, and its verdict where it has one; older signatures are replaced.

    A verdict inside `bundle.json` moves into `verdict.json`. The identity of the bundle stays.

    Args:
        folder: Of the bundle.
        key: The private key.

    Raises:
        IntegrityError: It is not a bundle, or it was changed.
        OutputError: The folder cannot be written.
    """
    bundle = load_bundle(folder)
    root = bundle.folder
    _move_verdict_out(bundle)
    others = [path.name for path in sorted(root.iterdir()) if path.name != VERDICT]
    signatures = {SIGNATURE: _signature(root, key, ignored=sorted(BESIDE))}
    if (root / VERDICT).is_file():
        signatures[VERDICT_SIGNATURE] = _signature(root, key, ignored={*others, VERDICT_SIGNATURE, SIGNATURE})
    for name, text in signatures.items():
        with atomic_text(root / name) as stream:
            stream.write(text)
    return load_bundle(root)


def _move_verdict_out(bundle: Bundle) -> None:
    root = bundle.folder
    # That of `bundle.details` may come from `verdict.json` already.
    inside = json.loads((root / MANIFEST).read_bytes()).get(ACCEPTANCE)
    if inside is None:
        return
    if not (root / VERDICT).is_file():
        with atomic_text(root / VERDICT) as stream:
            stream.write(manifest_text(inside))
    # After that: a verdict that is in both places is the same.
    with atomic_text(root / MANIFEST) as stream:
        stream.write(manifest_text({**bundle.details, ACCEPTANCE: None}))


def _signature(root: Path, key: SigningKey, *, ignored: Iterable[str]) -> str:
    """The text of a signature over the files of a folder."""
    signing: Any = require("model_signing.signing", extra=_EXTRA, purpose=_PURPOSE)
    hashing: Any = require("model_signing.hashing", extra=_EXTRA, purpose=_PURPOSE)
    files = hashing.Config().set_ignored_paths(paths=sorted(ignored), ignore_git_paths=False)
    config = signing.Config().set_hashing_config(files)
    # It takes the passphrase as bytes, whatever its signature says.
    config.use_elliptic_key_signer(private_key=key.path, password=key.passphrase)
    with tempfile.TemporaryDirectory(prefix="braintumor-") as work:
        path = Path(work) / SIGNATURE
        config.sign(root, path)
        return path.read_text(encoding="utf-8")
