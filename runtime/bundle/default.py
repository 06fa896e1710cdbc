"""The default of a folder of bundles: by verdict, then by the date of the export; never one that was refused.

The date is the bundle's `exported_utc`; of a bundle that has none, that of its verdict; of one with neither, the
file's. A file's time changes when the bundle is judged or copied, and is therefore the last resort.
"""

import contextlib
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from braintumor.errors import IntegrityError, UsageError
from braintumor.runtime.bundle.acceptance import ACCEPTANCE, EXPORTED, check_acceptance, identity, parse_verdict
from braintumor.runtime.bundle.checksum import check_checksum
from braintumor.runtime.bundle.folder import VERDICT, read_beside
from braintumor.runtime.bundle.schema import parse_bundle

__all__ = ["Candidate", "choose_default", "read_candidate"]

_NOT_JUDGED: Final = "not judged"
_UNREADABLE: Final = "unreadable"
_REFUSED: Final = "refused"
# Best first. One that cannot be read stands before none, so that loading it tells what is wrong with it.
_PREFERENCE: Final = ("accepted", "not shown", _NOT_JUDGED, _UNREADABLE)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A bundle that may become the default.

    Attributes:
        folder: Its path.
        status: "accepted", "not shown", "refused", "not judged" or "unreadable".
        dated: What `date` is of: "exported", "judged" or "written" (its file).
        date: In UTC.
    """

    folder: Path
    status: str
    dated: str
    date: dt.datetime

    def __str__(self) -> str:
        """The state, in a few words."""
        return f"{self.status}, {self.dated} {self.date:%Y-%m-%d %H:%M:%S}"


def choose_default(candidates: Sequence[Candidate]) -> Candidate:
    """The accepted one that was exported last; without one, the last that was not judged.

    Args:
        candidates: At least one.

    Raises:
        UsageError: All of them were refused.
    """
    allowed = [candidate for candidate in candidates if candidate.status != _REFUSED]
    if not allowed:
        names = ", ".join(candidate.folder.name for candidate in candidates)
        first = candidates[0].folder
        raise UsageError(
            f"{first.parent} holds only bundles that bt-bench accuracy refused: {names}",
            f"export another with bt-export, or name one to use it all the same, as in `bundle='{first}'`",
        )
    return max(
        allowed,
        key=lambda candidate: (-_PREFERENCE.index(candidate.status), candidate.date, candidate.folder.as_posix()),
    )


def read_candidate(manifest: Path) -> Candidate:
    """The verdict and the date of a bundle, without its members, which are not read.

    Args:
        manifest: Its `bundle.json`.
    """
    try:
        raw = manifest.read_bytes()
        details = parse_bundle(raw, manifest)
        check_checksum(details, str(manifest))
        sha256 = identity(raw, details)
        if (beside := read_beside(manifest.parent, VERDICT)) is not None:
            details[ACCEPTANCE] = parse_verdict(beside, manifest.parent / VERDICT)
        check_acceptance(details, sha256, manifest)
    except (IntegrityError, OSError):
        return Candidate(manifest.parent, _UNREADABLE, "written", _written(manifest))
    verdict = details.get(ACCEPTANCE) or {}
    dates = {"exported": details.get(EXPORTED), "judged": verdict.get("created_utc")}
    dated, date = next(_parsed(dates), ("written", _written(manifest)))
    return Candidate(manifest.parent, verdict.get("status", _NOT_JUDGED), dated, date)


def _parsed(dates: Mapping[str, object]) -> Iterator[tuple[str, dt.datetime]]:
    for dated, text in dates.items():
        with contextlib.suppress(ValueError):
            date = dt.datetime.fromisoformat(str(text))
            yield dated, date if date.tzinfo else date.replace(tzinfo=dt.UTC)


def _written(manifest: Path) -> dt.datetime:
    return dt.datetime.fromtimestamp(manifest.stat().st_mtime, dt.UTC)
