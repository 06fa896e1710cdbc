"""Reading a bundle: every file that it lists is hash-checked, and every graph checked, before a library parses it.

A bundle is a folder with `bundle.json` and one folder a member. `bundle.json` lists every other file with
its size and SHA-256; nothing else may lie in the folder but signatures and the verdict on a signed bundle
(`braintumor.runtime.bundle.folder`). The SHA-256 of `bundle.json` itself is therefore
the identity of the whole bundle, except its verdict (`braintumor.runtime.bundle.acceptance`). `bundle.json` has
a checksum of its own (`braintumor.runtime.bundle.checksum`): damage is noticed, but whoever can write into the
folder can write a bundle that fits. To be sure of one, require its signature
(`braintumor.runtime.bundle.signature`), or compare its identity with one noted elsewhere.
"""

import glob
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from braintumor.errors import IntegrityError
from braintumor.files import sha256_of
from braintumor.runtime.bundle.acceptance import ACCEPTANCE, check_acceptance, identity, parse_verdict
from braintumor.runtime.bundle.checksum import check_checksum
from braintumor.runtime.bundle.folder import BESIDE, MANIFEST, PLAIN_FILES, VERDICT, file_names, read_beside
from braintumor.runtime.bundle.schema import export_command, parse_bundle
from braintumor.runtime.bundle.verified import check_model
from braintumor.runtime.cascade import CASCADE, Cascade, parse_cascade
from braintumor.runtime.image.geometry import Geometry
from braintumor.runtime.image.head import Crop
from braintumor.runtime.image.resize import Resize

if TYPE_CHECKING:
    from braintumor.runtime.bundle.signature import Signature

__all__ = ["MANIFEST", "Bundle", "Member", "how_to_get", "listed_files", "load_bundle", "member_of"]

_MAX_MANIFEST_BYTES: Final = 1 << 22


@dataclass(frozen=True, slots=True)
class Member:
    """One model of the ensemble.

    Attributes:
        name: Unique in the bundle.
        weight: Its weight in the vote, greater than 0.
        height: Input height in pixels.
        width: Input width in pixels.
        resize: The method by which images get that size; see `braintumor.runtime.image.resize`.
        precision: "fp32", "fp16", "bf16" or "int8".
        path: The ONNX file, absolute.
        sha256: Of that file.
        details: Its whole entry in `bundle.json`: source, tools, parity figures, …
        probe: The images of `braintumor.runtime.bundle.probe`, absolute; None in a bundle without.
        class_count: Probabilities for an image.
        crop: The crop before an image is resized, of `CROPS`.
    """

    name: str
    weight: float
    height: int
    width: int
    resize: Resize
    precision: str
    path: Path
    sha256: str
    details: Mapping[str, Any]
    probe: Path | None = None
    class_count: int = 4
    crop: Crop = "none"

    @property
    def float_precision(self) -> str:
        """Precision of what is not quantised: "fp32", "fp16" or "bf16"."""
        if self.precision != "int8":
            return self.precision
        quantisation = self.details.get("quantisation") or {}
        return str(quantisation.get("rest", "fp32"))

    @property
    def geometry(self) -> Geometry:
        """The crop and resize of an image for this member."""
        return Geometry(self.height, self.width, self.resize, self.crop)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle.

    Attributes:
        name: Given at export.
        folder: Its path, absolute.
        sha256: Of `bundle.json` without a verdict, and so of everything that answers.
        classes: Names of the outputs, in order.
        members: In the order of the export.
        details: The whole of `bundle.json`, with the verdict of a signed bundle in it.
        cascade: When some members may answer for all; None for none.
        signature: The signature, where a key was given to verify it with.
    """

    name: str
    folder: Path
    sha256: str
    classes: tuple[str, ...]
    members: tuple[Member, ...]
    details: Mapping[str, Any]
    cascade: Cascade | None = None
    signature: "Signature | None" = None

    @property
    def precision(self) -> str:
        """The members' precision; "mixed" when they differ."""
        precisions = {member.precision for member in self.members}
        return precisions.pop() if len(precisions) == 1 else "mixed"

    @property
    def names(self) -> tuple[str, ...]:
        """The members' names."""
        return tuple(member.name for member in self.members)

    @property
    def weights(self) -> tuple[float, ...]:
        """The members' weights in the vote."""
        return tuple(member.weight for member in self.members)

    @property
    def temperature(self) -> float:
        """The divisor of the vote's logarithms before a softmax; 1 for a vote as it is."""
        return float((self.details.get("calibration") or {}).get("temperature", 1.0))

    @property
    def acceptance(self) -> Mapping[str, Any] | None:
        """The verdict of `bt-bench accuracy` that it carries; None for a bundle that was not judged."""
        acceptance: Mapping[str, Any] | None = self.details.get(ACCEPTANCE)
        return acceptance

    @property
    def assumed(self) -> tuple[str, ...]:
        """Names of the members whose class order nobody stated at their export."""
        return tuple(
            member.name for member in self.members if member.details["source"].get("classes_stated") is False
        )

    @property
    def unverified(self) -> tuple[str, ...]:
        """Names of the members that were never compared with Keras: it was not installed where they were exported."""
        return tuple(member.name for member in self.members if member.details["parity"].get("against_keras") is False)


def load_bundle(folder: str | Path, *, public_key: str | Path | None = None) -> Bundle:
    """Verify and read a bundle.

    Args:
        folder: Of the bundle.
        public_key: The PEM file of a public key that must have signed it: nothing is parsed before that is verified.
            None for any bundle, signed or not.

    Raises:
        IntegrityError: It is not there, not of a known schema, was changed, its files are not those that it lists, or
            it is not signed with that key.
        UsageError: There is no such key.
        UnavailableError: The package `cryptography` is not installed, and a key was given.
    """
    root = Path(folder).absolute()
    raw = _read_manifest(root)
    signature = None if public_key is None else _verified_signature(root, raw, public_key)
    details = parse_bundle(raw, root / MANIFEST)
    check_checksum(details, str(root / MANIFEST))
    sha256 = identity(raw, details)
    verdict = read_beside(root, VERDICT) if signature is None else signature.verdict
    if verdict is not None:
        details[ACCEPTANCE] = parse_verdict(verdict, root / VERDICT)
    check_acceptance(details, sha256, root / (MANIFEST if verdict is None else VERDICT))
    _check_files(root, listed_files(details), {} if signature is None else signature.digests)
    for entry in details["members"]:
        _check_model(root, root / entry["file"])
    return Bundle(
        name=details["name"],
        folder=root,
        sha256=sha256,
        classes=tuple(details["classes"]),
        members=tuple(_member(root, entry, len(details["classes"])) for entry in details["members"]),
        details=details,
        cascade=parse_cascade(details.get(CASCADE), details["members"], str(root / MANIFEST)),
        signature=signature,
    )


def _verified_signature(root: Path, manifest: bytes, public_key: str | Path) -> "Signature":
    # Imported here: the libraries behind it take 0.1 s, and most bundles are read without.
    from braintumor.runtime.bundle.signature import verify_signature

    return verify_signature(root, manifest, public_key)


def listed_files(details: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Name → "sha256" and "size_bytes" of every file that a `bundle.json` lists."""
    models = {entry["file"]: entry for entry in details["members"]}
    probes = {entry["probe"]["file"]: entry["probe"] for entry in details["members"] if entry.get("probe")}
    return models | probes


def _member(root: Path, entry: Mapping[str, Any], class_count: int) -> Member:
    probe = root / entry["probe"]["file"] if entry.get("probe") else None
    return member_of(entry, root / entry["file"], entry["sha256"], probe, class_count)


def member_of(entry: Mapping[str, Any], path: Path, sha256: str, probe: Path | None, class_count: int) -> Member:
    """The member that an entry of `bundle.json` describes.

    Args:
        entry: Checked.
        path: The ONNX file, absolute.
        sha256: Of that file.
        probe: The probe's images, absolute; None where there are none.
        class_count: Probabilities for an image.
    """
    return Member(
        name=entry["name"],
        weight=entry["weight"],
        height=entry["height"],
        width=entry["width"],
        resize=entry["resize"],
        precision=entry["precision"],
        path=path,
        sha256=sha256,
        details=entry,
        probe=probe,
        class_count=class_count,
        crop=entry.get("crop", "none"),
    )


def how_to_get(folder: Path) -> str:
    """The remedy for a folder that has no bundle.

    An export into it that was killed between two renames has left the one that was there before beside it.
    """
    replaced = sorted(folder.parent.glob(f".{glob.escape(folder.name)}-old-*/bundle/{MANIFEST}"))
    if replaced:
        return f"an export was cut off: move the bundle that it was replacing back from {replaced[-1].parent}"
    return f"make one with: {export_command(folder)}"


def _remedy(root: Path) -> str:
    return f"copy it again from where it was made, or export it again with: {export_command(root)}"


def _read_manifest(root: Path) -> bytes:
    path = root / MANIFEST
    try:
        if path.is_symlink():
            raise IntegrityError(f"{path} is a link; a bundle holds plain files", PLAIN_FILES)
        if not path.is_file():
            raise IntegrityError(f"{root} is not a bundle: it has no {MANIFEST}", how_to_get(root))
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise IntegrityError(
                f"{path} has {path.stat().st_size} bytes; must be <= {_MAX_MANIFEST_BYTES}", _remedy(root)
            )
        return path.read_bytes()
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read ({error.strerror or error})", "check its permissions") from error


def _check_files(root: Path, listed: Mapping[str, Mapping[str, Any]], digests: Mapping[str, str]) -> None:
    """Compare the folder with what `bundle.json` lists; `digests` are of files that were hashed already."""
    present = file_names(root) - {MANIFEST}
    if missing := sorted(listed.keys() - present):
        raise IntegrityError(f"{root} lacks {', '.join(missing)}, which its {MANIFEST} lists", _remedy(root))
    if extra := sorted(present - listed.keys() - BESIDE):
        raise IntegrityError(
            f"{root} holds {', '.join(extra)}, which its {MANIFEST} does not list", "remove it from the folder"
        )
    for name, entry in listed.items():
        _check_file(root, root / name, entry, digests.get(name))


def _check_file(root: Path, path: Path, entry: Mapping[str, Any], digest: str | None) -> None:
    try:
        size_bytes = path.stat().st_size
        if size_bytes != entry["size_bytes"]:
            raise IntegrityError(
                f"{path} has {size_bytes} bytes; its {MANIFEST} says {entry['size_bytes']}", _remedy(root)
            )
        digest = digest or sha256_of(path)
        if digest != entry["sha256"]:
            raise IntegrityError(
                f"{path} has SHA-256 {digest[:16]}…; its {MANIFEST} says {entry['sha256'][:16]}…", _remedy(root)
            )
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read ({error.strerror or error})", _remedy(root)) from error


def _check_model(root: Path, path: Path) -> None:
    try:
        with path.open("rb", buffering=0) as stream:
            check_model(stream, path, _remedy(root))
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read ({error.strerror or error})", _remedy(root)) from error
