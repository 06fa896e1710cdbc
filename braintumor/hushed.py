"""Small talk of a library on standard error, kept from whoever reads it there.

TensorFlow's C++ tells of oneDNN and missing GPUs before it looks at any variable that could forbid it.
"""

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from typing import Final

__all__ = ["hushed"]

_STDERR: Final = 2
_CHUNK_BYTES: Final = 1 << 16
_END_S: Final = 1.0
# Standard error is the whole process's: one at a time.
_ALONE: Final = threading.Lock()


@contextlib.contextmanager
def hushed(talk: re.Pattern[bytes]) -> Iterator[None]:
    """Keep lines that begin so from standard error, whoever writes them; all others pass at once.

    Args:
        talk: Matched at the start of each line.
    """
    with _ALONE:
        try:
            saved = os.dup(_STDERR)
        except OSError:
            # A program without a standard error hears nothing anyway.
            yield
            return
        reading, writing = os.pipe()
        os.dup2(writing, _STDERR)
        os.close(writing)
        listener = threading.Thread(target=_pass_on, args=(reading, saved, talk), daemon=True)
        listener.start()
        try:
            yield
        finally:
            os.dup2(saved, _STDERR)
            # A process that was started meanwhile holds the pipe open: it is listened to, and not waited for.
            listener.join(_END_S)


def _pass_on(reading: int, saved: int, talk: re.Pattern[bytes]) -> None:
    try:
        while chunk := os.read(reading, _CHUNK_BYTES):
            kept = b"".join(line for line in chunk.splitlines(keepends=True) if not talk.match(line))
            if kept:
                os.write(saved, kept)
    finally:
        os.close(reading)
        os.close(saved)
