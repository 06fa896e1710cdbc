"""The chain of an audit log (schema `braintumor.audit/1`): each line holds the hash of the line before, and its own.

    line 1   {"schema": …, "sequence": 1, "previous": 64 zeros,          …, "checksum": SHA-256 of what stands before}
    line 2   {"schema": …, "sequence": 2, "previous": SHA-256 of line 1, …, "checksum": …}

Both are of the bytes without the line end; the checksum's are those before `, "checksum"`. A line that was changed,
removed, added or moved does not fit. Whoever may write the file can make a new chain, or cut lines off the end: the
head of the chain, kept elsewhere as an `Anchor`, shows that.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import msgspec

from braintumor.errors import IntegrityError, UsageError
from braintumor.runtime.archive.audit_lines import AuditLine
from braintumor.runtime.archive.journal import Extent, whole_lines

__all__ = ["OPENING", "SCHEMA", "Anchor", "Chain", "chained", "read_chain"]

SCHEMA: Final = "braintumor.audit/1"

OPENING: Final = f'{{"schema": "{SCHEMA}", "sequence": 1, "previous": "{"0" * 64}", '.encode()
"""The beginning of every audit log."""

_CHECKSUM: Final = ', "checksum": "'
_LINE: Final = re.compile(
    (
        rf'(?P<body>\{{"schema": "{SCHEMA}", "sequence": (?P<sequence>[1-9][0-9]*), "previous": '
        rf'"(?P<previous>[0-9a-f]{{64}})", .*){_CHECKSUM}(?P<checksum>[0-9a-f]{{64}})"\}}'
    ).encode()
)


@dataclass(frozen=True, slots=True)
class Anchor:
    """The head of a chain: what to keep elsewhere.

    Attributes:
        sequence: Number of the last line; 0 for an empty log.
        sha256: Of the last line; zeros for an empty log.
    """

    sequence: int = 0
    sha256: str = "0" * 64

    def __str__(self) -> str:
        """As `parse` reads it."""
        return f"{self.sequence}:{self.sha256}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an anchor as `bt-audit anchor` prints it, such as 12:3b1f….

        Raises:
            UsageError: It is not one.
        """
        match = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64})", text.strip())
        if match is None:
            raise UsageError(
                f"`anchor` {text!r:.90} is not a number, a colon and 64 hexadecimal digits",
                "give what bt-audit anchor printed",
            )
        return cls(int(match[1]), match[2])


@dataclass(frozen=True, slots=True)
class Chain:
    """A log whose chain is whole.

    Attributes:
        head: Of its last line.
        extent: Its whole lines, and what a killed process left behind them.
    """

    head: Anchor
    extent: Extent


def chained(content: AuditLine, head: Anchor) -> tuple[bytes, Anchor]:
    """The line that continues a chain, with its end, and the new head.

    Args:
        content: The line's own keys.
        head: Of the line before.
    """
    fields = {
        "schema": SCHEMA,
        "sequence": head.sequence + 1,
        "previous": head.sha256,
        **msgspec.to_builtins(content),
    }
    body = json.dumps(fields, allow_nan=False)[:-1]  # ASCII, without line ends
    line = f'{body}{_CHECKSUM}{_sha256(body.encode())}"}}'.encode()
    return line + b"\n", Anchor(head.sequence + 1, _sha256(line))


def read_chain(path: Path, anchor: Anchor | None = None) -> Chain:
    """Verify every line of a log.

    Args:
        path: The log.
        anchor: A head that it once had.

    Raises:
        IntegrityError: A line was changed, removed, added or moved, or the log no longer has the anchor; the message
            names the first line that does not fit.
        OutputError: The file cannot be read.
    """
    verifier = _Verifier(path, anchor)
    extent = whole_lines(path, OPENING, verifier.accept)
    verifier.finish()
    return Chain(verifier.head, extent)


class _Verifier:
    """Follows a chain line by line."""

    def __init__(self, path: Path, anchor: Anchor | None) -> None:
        self._path, self._anchor = path, anchor
        self.head = Anchor()

    def accept(self, line: bytes, number: int) -> str:
        """Take the next line; returns why it does not continue the chain, or ""."""
        match = _LINE.fullmatch(line)
        if match is None or _sha256(match["body"]) != match["checksum"].decode():
            return "it was changed"
        sequence, previous = int(match["sequence"]), match["previous"].decode()
        if sequence != number or previous != self.head.sha256:
            return f"it does not follow line {number - 1}: lines were changed, removed, added or moved"
        self.head = Anchor(number, _sha256(line))
        if self._anchor is not None and self._anchor.sequence == number and self._anchor != self.head:
            return "it is not the line of the anchor: the log was written anew"
        return ""

    def finish(self) -> None:
        """Raise an error if the log ends before its anchor."""
        if self._anchor is not None and self._anchor.sequence > self.head.sequence:
            raise IntegrityError(
                f"{self._path} ends with line {self.head.sequence}; the anchor is line {self._anchor.sequence}: "
                f"{self._anchor.sequence - self.head.sequence} lines were cut off",
                "restore it from a copy",
            )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
