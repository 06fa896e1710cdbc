"""Standard streams as a command needs them, also where it was started with closed or full ones."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, Final, TextIO

__all__ = ["discard_output", "usable_streams"]

_STDERR: Final = 2


@contextlib.contextmanager
def usable_streams() -> Iterator[None]:
    """In this block standard input, output and error are open, and writing to standard error never fails.

    A closed standard input is empty, a closed standard output refuses what is written (`OSError`), and what a closed
    or full standard error would get is dropped. Left closed, the next file that is opened would take the number of
    the stream, and get what libraries print.
    """
    before = sys.stdin, sys.stdout, sys.stderr
    # A standard output for reading only: writing fails, as it should.
    for number, (stream, mode) in enumerate(zip(before, (os.O_RDONLY, os.O_RDONLY, os.O_WRONLY), strict=True)):
        if stream is None:
            _open(number, mode)
    sys.stdin = before[0] or io.TextIOWrapper(io.FileIO(0, closefd=False))
    sys.stdout = before[1] or _text(io.FileIO(1, "w", closefd=False))
    sys.stderr = _tolerant(before[2])
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


def discard_output() -> None:
    """Send to nowhere what Python would still flush to standard output at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Tolerant(io.FileIO):
    """A stream that drops what cannot be written."""

    def write(self, data: Any, /) -> int | None:  # type: ignore[override]  # as a subclass without overloads
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _open(number: int, mode: int) -> None:
    """Open the number of a closed stream, unless a library has opened a file under it."""
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, mode)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)


def _tolerant(stream: TextIO | None) -> TextIO:
    if stream is None:
        return _text(_Tolerant(_STDERR, "w", closefd=False))
    # Another stream (of a test, an embedding program, a console of Windows) stays.
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    if type(raw) is not io.FileIO or raw.fileno() != _STDERR:
        return stream
    return _text(_Tolerant(_STDERR, "w", closefd=False), stream)


def _text(raw: io.FileIO, like: TextIO | None = None) -> TextIO:
    encoding, errors = (like.encoding, like.errors) if like else ("utf-8", "backslashreplace")
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, errors=errors, line_buffering=True)
