"""Child processes that do not outlive the process that started them, however that one ends."""

import contextlib
import ctypes
import os
import signal
import sys
import threading
from typing import Final

__all__ = ["end_with_input", "end_with_parent"]

_PR_SET_PDEATHSIG: Final = 1


def end_with_parent() -> None:
    """On Linux, have the system kill this process when the thread that started it ends, whatever it is doing.

    For a child whose parent waits for it in the thread that started it. Elsewhere nothing happens: `end_with_input`.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def end_with_input() -> None:
    """End this process when its standard input ends, a pipe that the parent holds open as long as it lives.

    It works on every system, and where the parent ended before `end_with_parent` was called; but only when Python
    gets its turn: a library may compute for minutes before.
    """

    def wait() -> None:
        sys.stdin.read()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
