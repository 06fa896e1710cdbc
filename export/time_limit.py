"""A time limit for work in this thread."""

import ctypes
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from braintumor.errors import ModelError

__all__ = ["run_within"]

Result = TypeVar("Result")

# Time that a library has to come back after the limit.
_GRACE_S: Final = 3.0


class _TimeIsUp(BaseException):
    """Raised in the thread whose time is up; not an Exception, so that `except Exception` does not catch it."""


def run_within(
    seconds: float | None, late: ModelError, work: Callable[[], Result], end: Callable[[str], object] | None = None
) -> Result:
    """Run some work, and end it when its time is up.

    An exception is raised in the thread that runs it, so that half-written files are removed. A library that does not
    return from its own code does not notice that; for this case there is `end`.

    Args:
        seconds: The limit; None for none.
        late: The error to raise when the time is up.
        work: Called once. Not a `with` block: between such a block and its context manager an exception of this
            kind would be lost.
        end: Called with the error's text in another thread when the work has not ended some seconds later; it may end
            the process.

    Returns:
        The result of the work.

    Raises:
        late: The time was up.
    """
    if seconds is None:
        return work()
    watch = _Watch(seconds, str(late), end)
    try:
        try:
            watch.thread.start()
            return work()
        finally:
            watch.stop()
    except _TimeIsUp:
        # The exception is raised once: not after this.
        watch.stop()
        raise late from None


class _Watch:
    """A thread that waits while the work runs."""

    def __init__(self, seconds: float, message: str, end: Callable[[str], object] | None) -> None:
        self._seconds, self._message, self._end = seconds, message, end
        self._watched = threading.get_ident()
        self._over = threading.Event()
        self._deciding = threading.Lock()
        self.thread = threading.Thread(target=self._wait, name="time limit", daemon=True)

    def stop(self) -> None:
        """The work has ended."""
        with self._deciding:
            self._over.set()
        # An exception that was set at the very moment the work ended is raised here. It cannot be taken back:
        # Python 3.11 drops it, but not the flag that there is one, and a traced call then never begins.
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
