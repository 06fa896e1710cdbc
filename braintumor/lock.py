"""A lock between processes that share a folder."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

__all__ = ["is_abandoned", "locked"]

_PAUSE_S: Final = 0.1


@contextlib.contextmanager
def locked(path: Path, on_wait: Callable[[], object]) -> Iterator[None]:
    """Hold a lock file for the length of a block; wait while another process or thread holds it.

    The system frees the lock when its holder ends, however it ends. The file stays: removing it would let two
    processes hold two files of one name. On a file system without locks nothing is held, and nobody waits.

    Args:
        path: The lock file; made where it is missing.
        on_wait: Called once where the lock is held elsewhere.

    Raises:
        OSError: The file cannot be written.
    """
    with path.open("ab") as stream:
        if _take(stream) is False:
            on_wait()
            while _take(stream) is False:
                time.sleep(_PAUSE_S)
        # Closing the file frees the lock.
        yield


def is_abandoned(path: Path) -> bool:
    """Whether a lock file lies there that nobody holds; on a file system without locks it is never known.

    Raises:
        OSError: The file cannot be opened, for another reason than that there is none.
    """
    try:
        with path.open("rb+") as stream:
            return _take(stream) is True
    except FileNotFoundError:
        return False


def _take(stream: BinaryIO) -> bool | None:
    """Take the lock unless it is held elsewhere; None on a file system without locks."""
    if sys.platform == "win32":
        import msvcrt

        stream.seek(0)
        try:
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # A network file system without locks.
        return None
    return True
