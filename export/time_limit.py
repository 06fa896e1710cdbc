"""An end to work that takes longer than it may."""

import ctypes
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from braintumor.errors import ModelError

__all__ = ["run_within"]

Result = TypeVar("Result")

# So long may a library go on that was asked to end.
_GRACE_S: Final = 3.0


class _TimeIsUp(BaseException):
    """Raised in the thread whose time is up; no `except Exception` may keep it."""


def run_within(
    seconds: float | None, message: str, work: Callable[[], Result], end: Callable[[str], object] | None = None
) -> Result:
    """Do some work, and end it when it has taken so long.

    An exception is raised in the thread that does it: what it has half-written is taken away. A library that does not
    come back from its own code does not notice that; for it there is `end`.

    Args:
        seconds: The limit; None for none.
        message: Of the error.
        work: What is to be done. Not a `with` block: between such a block and its context manager an exception of
            this kind finds nobody.
        end: Called with the message in another thread when the work has not ended some seconds later. To end the
            process is up to it.

    Returns:
        What the work gives.

    Raises:
        ModelError: The time was up.
    """
    if seconds is None:
        return work()
    watch = _Watch(seconds, message, end)
    try:
        try:
            watch.thread.start()
            return work()
        finally:
            watch.stop()
    except _TimeIsUp:
        # It comes once: here no more.
        watch.stop()
        raise ModelError(message) from None


class _Watch:
    """The thread that waits beside a block."""

    def __init__(self, seconds: float, message: str, end: Callable[[str], object] | None) -> None:
        self._seconds, self._message, self._end = seconds, message, end
        self._watched = threading.get_ident()
        self._over = threading.Event()
        self._deciding = threading.Lock()
        self.thread = threading.Thread(target=self._wait, name="time limit", daemon=True)

    def stop(self) -> None:
        """The block has ended."""
        with self._deciding:
            self._over.set()
        # An exception that was asked for in the very moment in which the block ended comes here. It cannot be taken
        # back: Python 3.11 forgets it, not that it has one to raise, and a traced call then never begins.
        time.sleep(0)

    def _wait(self) -> None:
        if self._over.wait(self._seconds):
            return
        with self._deciding:
            if self._over.is_set():
                return
            _raise_in(self._watched, _TimeIsUp)
        if not self._over.wait(_GRACE_S) and self._end is not None:
            self._end(self._message)


def _raise_in(thread: int, error: type[BaseException]) -> None:
    """Have a thread raise an exception at its next step in Python."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))
