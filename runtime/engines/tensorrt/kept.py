"""What a library makes while it works and takes up again the next time: kernel timings, compiled kernels.

TensorRT times kernels when it builds, TensorRT for RTX compiles them when it first runs a batch size. Both give it
away as a blob, which is kept in the user's cache; without one they begin anew.
"""

import contextlib
from pathlib import Path
from typing import Final

from braintumor.cache import cached, discard, found_in_cache
from braintumor.errors import OutputError

__all__ = ["keep", "kept"]

_FILE: Final = "blob"


def kept(kind: str, key: str) -> bytes:
    """What was kept under a key; empty when there is nothing, or no usable cache."""
    try:
        entry = found_in_cache(kind, key)
        return b"" if entry is None else (entry / _FILE).read_bytes()
    except (OutputError, OSError):
        return b""


def keep(kind: str, key: str, blob: bytes) -> None:
    """Keep a blob in the place of what was kept before; where there is no usable cache it is lost.

    One of the same size holds the same, in another order: it is not written again at every end of a program.
    """
    if not blob or len(blob) == len(kept(kind, key)):
        return

    def write(folder: Path) -> None:
        (folder / _FILE).write_bytes(blob)

    discard(kind, key)
    with contextlib.suppress(OutputError, OSError):
        cached(kind, key, write)
