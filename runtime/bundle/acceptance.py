"""The verdict that a bundle carries, written into its `bundle.json` by `bt-bench accuracy`.

A verdict is about a bundle and not a part of it, and so is everything else that was measured where the bundle was
made: agreement with Keras, answers to the probe, timings. The bundle's identity is the SHA-256 of what decides its
answers, as canonical JSON without these fields, the command and the time of the export. So the same models, options
and tool versions give the same identity on every machine, and a bundle keeps it when it is judged or verified again.
The verdict names the identity that it is about, and one that was copied into another bundle's file is refused.

The verdict on a signed bundle lies beside it, in `verdict.json`, with a signature of its own: written into
`bundle.json` it would end the signature of the bundle.

Bundles without an `"identity"` field were written by older versions: theirs is the SHA-256 of the file's text with
`"acceptance": null`.
"""

import hashlib
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from braintumor.errors import IntegrityError
from braintumor.files import atomic_text
from braintumor.runtime.bundle.folder import VERDICT, VERDICT_SIGNATURE, keeps_verdict_beside

__all__ = [
    "ACCEPTANCE",
    "ACCEPTANCE_SCHEMA",
    "EXPORTED",
    "IDENTITY",
    "IDENTITY_VERSION",
    "STATUSES",
    "check_acceptance",
    "identity",
    "manifest_text",
    "parse_verdict",
    "write_acceptance",
]

ACCEPTANCE: Final = "acceptance"
ACCEPTANCE_SCHEMA: Final = "braintumor.acceptance/1"
STATUSES: Final = ("accepted", "refused", "not shown")

EXPORTED: Final = "exported_utc"
"""The field with the time of the export, by ISO 8601; bundles of older versions have none."""

IDENTITY: Final = "identity"
"""The field with the version of the rule by which a bundle's identity is computed."""

IDENTITY_VERSION: Final = 2

# Measured where the bundle was made, or about how it was asked for: not part of its identity.
_ABOUT_BUNDLE: Final = frozenset({ACCEPTANCE, "checksum", "command", EXPORTED})
_ABOUT_MEMBER: Final = frozenset({"parity", "mixed"})
_ABOUT_PROBE: Final = frozenset({"probabilities"})

# The fields that a reader relies on; more may be there.
_FIELDS: Final[Mapping[str, type]] = {
    "status": str,
    "judged_sha256": str,
    "reason": str,
    "engine": str,
    "reference": str,
    "images": int,
    "correct": int,
    "flips": int,
}


def manifest_text(details: Mapping[str, Any]) -> str:
    """The text of a `bundle.json`: the only form in which one is written."""
    return json.dumps(details, indent=2, ensure_ascii=False) + "\n"


def parse_verdict(raw: bytes, path: Path) -> Any:
    """The content of a `verdict.json`; `check_acceptance` checks it.

    Raises:
        IntegrityError: It is not JSON.
    """
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{path} is not JSON ({error})", "remove it, and evaluate the bundle again") from error


def identity(raw: bytes, details: Mapping[str, Any]) -> str:
    """The SHA-256 that names a bundle, with a verdict or without.

    Args:
        raw: The bytes of its `bundle.json`.
        details: Their content.
    """
    if details.get(IDENTITY) == IDENTITY_VERSION:
        raw = json.dumps(_deciding(details), sort_keys=True, separators=(",", ":")).encode()
    elif details.get(ACCEPTANCE) is not None:
        raw = manifest_text({**details, ACCEPTANCE: None}).encode()
    return hashlib.sha256(raw).hexdigest()


def _deciding(details: Mapping[str, Any]) -> dict[str, Any]:
    """Everything in a `bundle.json` that decides what the bundle answers."""
    deciding = _without(details, _ABOUT_BUNDLE)
    deciding["members"] = [_without(member, _ABOUT_MEMBER) for member in deciding["members"]]
    for member in deciding["members"]:
        if member.get("probe") is not None:
            member["probe"] = _without(member["probe"], _ABOUT_PROBE)
    return deciding


def _without(value: Mapping[str, Any], fields: frozenset[str]) -> dict[str, Any]:
    return {name: item for name, item in value.items() if name not in fields}


def check_acceptance(details: Mapping[str, Any], sha256: str, manifest: Path) -> None:
    """Refuse a malformed verdict, or one on another bundle.

    Args:
        details: The content of `bundle.json`.
        sha256: The bundle's identity.
        manifest: The path of `bundle.json` or `verdict.json`, for messages.

    Raises:
        IntegrityError: The verdict is malformed, or on another bundle.
    """
    verdict = details.get(ACCEPTANCE)
    if verdict is None:
        return
    command = f"bt-bench accuracy {shlex.quote(str(manifest.parent))}"
    undo = f"remove {VERDICT}" if manifest.name == VERDICT else f'set "{ACCEPTANCE}" to null'
    remedy = f"{undo} and evaluate the bundle again: {command}"
    if not isinstance(verdict, dict) or verdict.get("schema") != ACCEPTANCE_SCHEMA:
        raise IntegrityError(f"{manifest}: '{ACCEPTANCE}' is not of schema {ACCEPTANCE_SCHEMA!r}", remedy)
    for name, kind in _FIELDS.items():
        value = verdict.get(name)
        printable = not isinstance(value, str) or value.isprintable()
        if not isinstance(value, kind) or isinstance(value, bool) or not printable:
            raise IntegrityError(f"{manifest}: '{name}' of '{ACCEPTANCE}' is not a printable {kind.__name__}", remedy)
    if verdict["status"] not in STATUSES or not 0 <= verdict["correct"] <= verdict["images"] != 0:
        raise IntegrityError(
            f"{manifest}: '{ACCEPTANCE}' says {verdict['status']!r} of {verdict['images']} images", remedy
        )
    if verdict["judged_sha256"] != sha256:
        raise IntegrityError(
            f"{manifest} carries a verdict on the bundle {verdict['judged_sha256'][:12]}…, but is {sha256[:12]}…: it "
            "was changed after it was evaluated, or the verdict is another's",
            remedy,
        )


def write_acceptance(manifest: Path, details: Mapping[str, Any], acceptance: Mapping[str, Any]) -> None:
    """Write a verdict into a `bundle.json`, or beside that of a signed bundle, whole or not at all.

    A signature of the verdict that was there before goes: `bt-bundle sign` makes another.

    Args:
        manifest: The `bundle.json`.
        details: Its content now; a verdict that it carries is replaced.
        acceptance: All of the fields that a reader relies on but "judged_sha256".

    Raises:
        OutputError: The file cannot be written.
    """
    plain = {**details, ACCEPTANCE: None}
    sha256 = identity(manifest_text(plain).encode(), plain)
    verdict = {"schema": ACCEPTANCE_SCHEMA, **acceptance, "judged_sha256": sha256}
    if not keeps_verdict_beside(manifest.parent):
        with atomic_text(manifest) as stream:
            stream.write(manifest_text({**plain, ACCEPTANCE: verdict}))
        return
    with atomic_text(manifest.parent / VERDICT) as stream:
        stream.write(manifest_text(verdict))
        # Not before the new one is written: an old verdict would be left unsigned on a full disk.
        stream.flush()
        (manifest.parent / VERDICT_SIGNATURE).unlink(missing_ok=True)
