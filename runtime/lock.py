"""A lock between processes that share a folder."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

__all__ = ["locked"]

_PAUSE_S: Final = 0.1


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], object]) -> Iterator[None]:
    """Hold a lock file for the length of a block; wait while another process or thread holds it.

    The system frees the lock when its holder ends, however it ends. The file stays: removing it would let two
    processes hold two files of one name. On a file system without locks nothing is held, and nobody waits.

    Args:
        path: The lock file; made where it is missing.
        waiting: Called once where the lock is held elsewhere.

    Raises:
        OSError: The file cannot be written.
    """
    with path.open("ab") as stream:
        if not _try(stream):
            waiting()
            while not _try(stream):
                time.sleep(_PAUSE_S)
        # Closing the file frees the lock.
        yield


def _try(stream: BinaryIO) -> bool:
    """Take the lock unless it is held elsewhere."""
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
        return True
    return True
