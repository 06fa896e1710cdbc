"""`bt-audit`: verify, show and anchor an audit log."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from braintumor.command import EPILOG, Command, Group, debug_option, version_option
from braintumor.errors import UsageError
from braintumor.runtime.archive.options import note_large_file

if TYPE_CHECKING:
    from braintumor.runtime.archive.audit_lines import AuditLine
    from braintumor.runtime.archive.chain import Chain

__all__ = ["main"]

_file = click.argument("file", type=click.Path(path_type=Path))


@click.group(cls=Group, epilog=EPILOG)
@version_option
def main() -> None:
    """Check the log that `bt-infer --audit` writes: each line holds the hash of the line before."""


@main.command(cls=Command, epilog=EPILOG)
@_file
@click.option("--anchor", metavar="HEAD", help="What bt-audit anchor printed: shows that no line was cut off since.")
@debug_option
def verify(*, file: Path, anchor: str | None) -> None:
    """Verify every line of FILE; exit code 4 where one was changed, removed, added or moved."""
    from braintumor.runtime.archive.chain import Anchor

    chain = _read(file, anchor)
    behind = "" if anchor is None else f"; {chain.head.sequence - Anchor.parse(anchor).sequence} since the anchor"
    click.echo(f"{file}: {chain.head.sequence} lines, the chain is whole{behind}")
    if chain.extent.torn_bytes:
        _tell_torn(chain)


@main.command(cls=Command, epilog=EPILOG)
@_file
@debug_option
def anchor(*, file: Path) -> None:
    """Verify FILE and print the head of its chain, to be kept elsewhere: NUMBER:SHA256 of the last line."""
    chain = _read(file)
    click.echo(str(chain.head))
    if chain.extent.torn_bytes:
        _tell_torn(chain)


@main.command(cls=Command, epilog=EPILOG)
@_file
@click.option("--last", metavar="N", type=click.IntRange(1), help="Only the last N lines.")
@debug_option
def show(*, file: Path, last: int | None) -> None:
    """Verify FILE and show its lines: time, what, image, answer."""
    from braintumor.runtime.archive.audit_lines import audit_lines

    chain = _read(file)
    first = 1 if last is None else chain.head.sequence - last + 1
    for sequence, line in enumerate(audit_lines(file), 1):
        if sequence >= first:
            click.echo(f"{sequence:>6}  {line.time}  {_text(line)}")
    if chain.extent.torn_bytes:
        _tell_torn(chain)


def _read(file: Path, head: str | None = None) -> "Chain":
    from braintumor.runtime.archive.chain import Anchor, read_chain

    if not file.is_file():
        raise UsageError(f"there is no file {file}", "name a log that bt-infer wrote")
    note_large_file(file, lambda line: click.echo(line, err=True))
    return read_chain(file, None if head is None else Anchor.parse(head))


def _tell_torn(chain: "Chain") -> None:
    click.echo(
        f"behind the last line are {chain.extent.torn_bytes} bytes of one that is not whole: a run writes it, or was "
        "killed; the next run cuts them off",
        err=True,
    )


def _text(line: "AuditLine") -> str:
    from braintumor.runtime.archive.audit_lines import RunLine

    if isinstance(line, RunLine):
        bundle = f"{line.bundle.name} ({line.bundle.sha256[:12]}, {line.bundle.verdict or 'not judged'})"
        return f"run on {line.host} by {(line.user or 'unknown')[:12]}: {bundle} on {line.engine['name']}"
    image = (line.input.sha256 or "unreadable")[:12]
    if line.label is None:
        return f"image {image}: {line.error}"
    return f"image {image}: {line.label} {100 * line.probabilities[line.label]:.1f} %"
