"""Hashing files, and writing them so that a failure leaves what was there before."""

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from braintumor.errors import OutputError
from braintumor.interrupt import check_interrupt

__all__ = ["atomic_text", "output_error", "sha256_of"]

_CHUNK_BYTES = 1 << 20


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits; reads a megabyte at a time."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def atomic_text(path: Path) -> Iterator[TextIO]:
    """Open a text file that appears under `path` only when the block ends well.

    An existing file stays as it is until then, and for good when the block raises. A link stays a link: the
    file that it points at is replaced. A device or a pipe (/dev/null, /dev/stdout) cannot be replaced and is
    written as it comes.

    Raises:
        OutputError: The folder is missing or read-only, or the disk is full.
    """
    if path.exists() and not path.is_file():
        with _as_output_error(path), path.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        return
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".braintumor-{secrets.token_hex(4)}.part")
    try:
        with _as_output_error(path):
            # newline="": the same line ends on every system.
            with temporary.open("w", encoding="utf-8", newline="") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            if target.exists():
                shutil.copymode(target, temporary)
            check_interrupt()
            temporary.replace(target)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _as_output_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise output_error(path, error) from error


def output_error(path: Path, error: OSError) -> OutputError:
    """The error for a path that cannot be written, with the reason of the system."""
    return OutputError(
        f"{path} cannot be written ({error.strerror or error})", "choose another path, or free some space"
    )
