"""A bundle at a glance: its identity, its members, its verdict and its signature."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from braintumor.errors import IntegrityError
from braintumor.runtime.bundle.folder import (
    BESIDE,
    MANIFEST,
    SIGNATURE,
    VERDICT,
    VERDICT_SIGNATURE,
    read_beside,
)
from braintumor.runtime.bundle.load import Bundle, Member, listed_files
from braintumor.runtime.bundle.oms import claimed_key
from braintumor.runtime.cascade import Cascade

__all__ = ["BundleSummary", "MemberSummary", "SignatureSummary", "bundle_files", "summarise"]

_SCHEMA: Final = "braintumor.bundle-summary/1"

VerdictState = Literal["none", "signed", "unsigned"]


@dataclass(frozen=True, slots=True)
class MemberSummary:
    """A member at a glance.

    Attributes:
        name: In the bundle.
        precision: "fp32", "fp16", "bf16" or "int8".
        weight: In the vote.
        height: Input height in pixels.
        width: Input width in pixels.
        crop: Before an image is resized.
        resize: Method that resizes it.
        size_bytes: Of its ONNX file.
        sha256: Of that file.
        source: Name of the Keras file that it was exported from; empty where that is not known.
    """

    name: str
    precision: str
    weight: float
    height: int
    width: int
    crop: str
    resize: str
    size_bytes: int
    sha256: str
    source: str


@dataclass(frozen=True, slots=True)
class SignatureSummary:
    """A signature at a glance.

    Attributes:
        key_sha256: Fingerprint of the key that it names; None where it is not the signature of a key pair.
        verified: Whether it was verified with a public key.
        verdict: Whether the verdict is signed; not verified where `verified` is False.
    """

    key_sha256: str | None
    verified: bool
    verdict: VerdictState


@dataclass(frozen=True, slots=True)
class BundleSummary:
    """A bundle at a glance.

    Attributes:
        name: Given at export.
        folder: Its path.
        sha256: Its identity.
        precision: Of its members; "mixed" where they differ.
        classes: Names of the outputs, in order.
        temperature: Of the vote.
        size_bytes: Of all files.
        files: Number of files.
        members: In order.
        verdict: As `bt-bench accuracy` wrote it; None for none.
        cascade: None for none.
        signature: None for a bundle that is not signed.
    """

    name: str
    folder: str
    sha256: str
    precision: str
    classes: tuple[str, ...]
    temperature: float
    size_bytes: int
    files: int
    members: tuple[MemberSummary, ...]
    verdict: dict[str, Any] | None
    cascade: Cascade | None
    signature: SignatureSummary | None

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {"schema": _SCHEMA, **asdict(self)}


def summarise(bundle: Bundle) -> BundleSummary:
    """The summary of a loaded bundle."""
    paths = bundle_files(bundle)
    return BundleSummary(
        name=bundle.name,
        folder=str(bundle.folder),
        sha256=bundle.sha256,
        precision=bundle.precision,
        classes=bundle.classes,
        temperature=bundle.temperature,
        size_bytes=sum(path.stat().st_size for path in paths),
        files=len(paths),
        members=tuple(_member(member) for member in bundle.members),
        verdict=None if bundle.acceptance is None else dict(bundle.acceptance),
        cascade=bundle.cascade,
        signature=_signature(bundle),
    )


def bundle_files(bundle: Bundle) -> list[Path]:
    """All files of a bundle, with its signatures and its verdict."""
    beside = [name for name in sorted(BESIDE) if (bundle.folder / name).is_file()]
    return [bundle.folder / name for name in (MANIFEST, *beside, *listed_files(bundle.details))]


def _member(member: Member) -> MemberSummary:
    return MemberSummary(
        name=member.name,
        precision=member.precision,
        weight=member.weight,
        height=member.height,
        width=member.width,
        crop=member.crop,
        resize=member.resize,
        size_bytes=member.details["size_bytes"],
        sha256=member.sha256,
        source=str(member.details["source"].get("file", "")),
    )


def _signature(bundle: Bundle) -> SignatureSummary | None:
    if (verified := bundle.signature) is not None:
        state: VerdictState = "unsigned" if verified.unsigned_verdict else "signed" if verified.verdict else "none"
        return SignatureSummary(verified.key_sha256, verified=True, verdict=state)
    raw = read_beside(bundle.folder, SIGNATURE)
    if raw is None:
        return None
    return SignatureSummary(_claimed_key(raw, bundle.folder), verified=False, verdict=_verdict_state(bundle.folder))


def _claimed_key(raw: bytes, root: Path) -> str | None:
    try:
        return claimed_key(raw, root / SIGNATURE)
    except IntegrityError:
        return None


def _verdict_state(root: Path) -> VerdictState:
    if not (root / VERDICT).is_file():
        return "none"
    return "signed" if (root / VERDICT_SIGNATURE).is_file() else "unsigned"
