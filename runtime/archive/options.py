"""The options of `bt-infer` about archives and the audit log."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from braintumor.errors import UsageError

if TYPE_CHECKING:
    from braintumor.runtime.archive.audit import AuditLog

__all__ = ["ArchiveOptions", "archive_options", "note_large_file"]

# Reading more may take longer than a person waits without a word.
_LARGE_BYTES: Final = 50_000_000


@dataclass(frozen=True, slots=True)
class ArchiveOptions:
    """What was given.

    Attributes:
        resume: Continue the results file.
        watch: Go on with what arrives in the folders.
        audit: The audit log.
        pseudonymise: A file with the key for pseudonyms of paths in the audit log.
    """

    resume: bool = False
    watch: bool = False
    audit: Path | None = None
    pseudonymise: Path | None = None

    def check(self, output: Path | None) -> None:
        """Refuse options that do not go together.

        Raises:
            UsageError: They do not.
        """
        if self.watch and not self.resume:
            raise UsageError("`watch` needs `resume`, which writes each answer as it comes", "add `resume`")
        if self.resume and output is None:
            raise UsageError("`resume` needs a file to continue", "name it with `output`")
        if self.pseudonymise is not None and self.audit is None:
            raise UsageError("`pseudonymise` is about the paths in an audit log, and there is none", "add `audit`")
        if self.audit is not None and output is not None and os.path.realpath(self.audit) == os.path.realpath(output):
            raise UsageError(f"`audit` and `output` are one file, {output}", "name two")

    @contextlib.contextmanager
    def open_audit(self, say: Callable[[str], object]) -> Iterator["AuditLog | None"]:
        """The audit log; None where none was asked for.

        Args:
            say: Shows a line, before a large log is verified.
        """
        if self.audit is None:
            yield None
            return
        from braintumor.runtime.archive.audit import open_audit, read_key

        key = None if self.pseudonymise is None else read_key(self.pseudonymise)
        note_large_file(self.audit, say)
        with open_audit(self.audit, key) as log:
            yield log


def note_large_file(path: Path, say: Callable[[str], object]) -> None:
    """Say that a file is read, if that takes seconds."""
    with contextlib.suppress(OSError):
        if (size := path.stat().st_size) > _LARGE_BYTES:
            say(f"reading {path} ({size / 1e6:.0f} MB) …")


_FILE: Final = click.Path(path_type=Path)
_OPTIONS: Final = (
    click.option(
        "--resume",
        is_flag=True,
        help="Add each answer to the file of --output (.jsonl, .csv) as it comes, and skip images that have theirs: "
        "the same command goes on after an interruption.",
    ),
    click.option("--watch", is_flag=True, help="With --resume: go on with images that arrive, until Ctrl-C."),
    click.option("--audit", metavar="FILE", type=_FILE, help="Append who asked what to a log; see bt-audit."),
    click.option(
        "--pseudonymise", metavar="KEYFILE", type=_FILE, help="Put paths into the log as HMAC-SHA-256 with this key."
    ),
)


def archive_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, which gets them as `archive`, an `ArchiveOptions`."""

    @functools.wraps(function)
    def with_archive(**parameters: Any) -> Any:
        chosen = {field.name: parameters.pop(field.name) for field in fields(ArchiveOptions)}
        return function(**parameters, archive=ArchiveOptions(**chosen))

    for option in reversed(_OPTIONS):
        with_archive = option(with_archive)
    return with_archive
