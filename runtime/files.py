"""Hashing files, and writing them so that a failure leaves what was there before."""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from braintumor.errors import OutputError

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

    An existing file stays as it is until then, and for good when the block raises.

    Raises:
        OutputError: The folder is missing or read-only, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        # newline="" leaves line ends to the writer: the csv module brings its own.
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def output_error(path: Path, error: OSError) -> OutputError:
    """The error that says why `path` cannot be written."""
    return OutputError(
        f"{path} cannot be written ({error.strerror or error}); give a place that can, or free some space"
    )
