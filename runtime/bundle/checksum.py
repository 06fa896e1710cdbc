"""The checksum of `bundle.json` over itself: against damage, not against an attacker, who would write a fitting one.

It is the SHA-256 of the file's content, as canonical JSON, without the checksum and without the verdict, which is
about the bundle and not a part of it (`braintumor.runtime.bundle.acceptance`). A bundle without one, as other
programs and older versions write it, is read as it is.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from braintumor.errors import IntegrityError
from braintumor.runtime.bundle.acceptance import ACCEPTANCE

__all__ = ["CHECKSUM", "check_checksum", "with_checksum"]

CHECKSUM: Final = "checksum"


def with_checksum(details: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a `bundle.json` with its checksum."""
    return {**details, CHECKSUM: _checksum(details)}


def check_checksum(details: Mapping[str, Any], where: str) -> None:
    """Refuse a file that was changed after it was written.

    Args:
        details: The content of `bundle.json`.
        where: Its path, for messages.

    Raises:
        IntegrityError: It does not match its checksum.
    """
    if CHECKSUM in details and details[CHECKSUM] != _checksum(details):
        raise IntegrityError(
            f"{where} was changed after it was written: it does not match its own checksum",
            "copy it again from where it was made; to change classes, weights or the name, export it again",
        )


def _checksum(details: Mapping[str, Any]) -> str:
    content = {key: value for key, value in details.items() if key not in {CHECKSUM, ACCEPTANCE}}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
