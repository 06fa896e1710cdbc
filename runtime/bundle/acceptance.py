"""The verdict that a bundle carries: what `bt-bench accuracy` wrote into its `bundle.json`.

A verdict is about a bundle and not a part of it, and so is everything else that was measured where the bundle was
made: agreement with Keras, answers to the probe, timings. The bundle's identity is the SHA-256 of what decides its
answers, as canonical JSON without these fields and without the command. So the same models, options and tool
versions give the same identity on every machine, and a bundle keeps it when it is judged or verified again. The
verdict names the identity that it is about, and one that was copied into another bundle's file is refused.

Bundles without an `"identity"` field were written by older versions: theirs is the SHA-256 of the file's text with
`"acceptance": null`.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from braintumor.errors import IntegrityError
from braintumor.files import atomic_text

__all__ = [
    "ACCEPTANCE",
    "ACCEPTANCE_SCHEMA",
    "IDENTITY",
    "IDENTITY_VERSION",
    "STATUSES",
    "check_acceptance",
    "identity",
    "manifest_text",
    "write_acceptance",
]

ACCEPTANCE: Final = "acceptance"
ACCEPTANCE_SCHEMA: Final = "braintumor.acceptance/1"
STATUSES: Final = ("accepted", "refused")

IDENTITY: Final = "identity"
"""The field that says by which rule a bundle's identity is computed."""

IDENTITY_VERSION: Final = 2

# Measured where the bundle was made, or about how it was asked for: not part of its identity.
_ABOUT_BUNDLE: Final = frozenset({ACCEPTANCE, "checksum", "command"})
_ABOUT_MEMBER: Final = frozenset({"parity", "mixed"})
_ABOUT_PROBE: Final = frozenset({"probabilities"})

# What a reader relies on; more may be there.
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


def identity(raw: bytes, details: Mapping[str, Any]) -> str:
    """The SHA-256 that names a bundle, whether it was judged or not.

    Args:
        raw: The bytes of its `bundle.json`.
        details: What they say.
    """
    if details.get(IDENTITY) == IDENTITY_VERSION:
        raw = json.dumps(_deciding(details), sort_keys=True, separators=(",", ":")).encode()
    elif details.get(ACCEPTANCE) is not None:
        raw = manifest_text({**details, ACCEPTANCE: None}).encode()
    return hashlib.sha256(raw).hexdigest()


def _deciding(details: Mapping[str, Any]) -> dict[str, Any]:
    """Everything in a `bundle.json` that decides what the bundle answers."""
    kept = _without(details, _ABOUT_BUNDLE)
    kept["members"] = [_without(member, _ABOUT_MEMBER) for member in kept["members"]]
    for member in kept["members"]:
        if member.get("probe") is not None:
            member["probe"] = _without(member["probe"], _ABOUT_PROBE)
    return kept


def _without(value: Mapping[str, Any], fields: frozenset[str]) -> dict[str, Any]:
    return {name: item for name, item in value.items() if name not in fields}


def check_acceptance(details: Mapping[str, Any], sha256: str, where: str) -> None:
    """Refuse a verdict that is none, or one on another bundle.

    Args:
        details: What `bundle.json` says.
        sha256: The bundle's identity.
        where: Its path, for messages.

    Raises:
        IntegrityError: It says why.
    """
    found = details.get(ACCEPTANCE)
    if found is None:
        return
    remedy = f"""set "{ACCEPTANCE}" to null and judge the bundle again: bt-bench accuracy"""
    if not isinstance(found, dict) or found.get("schema") != ACCEPTANCE_SCHEMA:
        raise IntegrityError(f"{where}: '{ACCEPTANCE}' is not of schema {ACCEPTANCE_SCHEMA!r}; {remedy}")
    for name, kind in _FIELDS.items():
        value = found.get(name)
        printable = not isinstance(value, str) or value.isprintable()
        if not isinstance(value, kind) or isinstance(value, bool) or not printable:
            raise IntegrityError(f"{where}: '{name}' of '{ACCEPTANCE}' is not a printable {kind.__name__}; {remedy}")
    if found["status"] not in STATUSES or not 0 <= found["correct"] <= found["images"] != 0:
        raise IntegrityError(
            f"{where}: '{ACCEPTANCE}' says {found['status']!r} of {found['images']} images; {remedy}"
        )
    if found["judged_sha256"] != sha256:
        raise IntegrityError(
            f"{where} carries a verdict on the bundle {found['judged_sha256'][:12]}…, but is {sha256[:12]}…: it was "
            f"changed after it was judged, or the verdict is another's; {remedy}"
        )


def write_acceptance(manifest: Path, details: Mapping[str, Any], acceptance: Mapping[str, Any]) -> None:
    """Write a verdict into a `bundle.json`, whole or not at all.

    Args:
        manifest: The file.
        details: What it says now; a verdict that it carries is replaced.
        acceptance: What is kept: all of the fields that a reader relies on but "judged_sha256".

    Raises:
        OutputError: The file cannot be written.
    """
    plain = {**details, ACCEPTANCE: None}
    sha256 = identity(manifest_text(plain).encode(), plain)
    verdict = {"schema": ACCEPTANCE_SCHEMA, **acceptance, "judged_sha256": sha256}
    with atomic_text(manifest) as stream:
        stream.write(manifest_text({**plain, ACCEPTANCE: verdict}))
