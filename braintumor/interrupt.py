"""Ctrl-C that is not lost.

Python raises KeyboardInterrupt wherever the main thread happens to be, and some places do not let it through: what is
raised in a finaliser or in the callback of a weak reference is printed and dropped (the import system has such
callbacks), and an extension module may turn it into another exception, which looks like a missing or broken library.
So a command keeps an interrupt: while the main thread goes on as if there had been none, it is raised again.
"""

import _thread
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Final

__all__ = ["check_interrupt", "has_default_handler", "interrupted", "keep_interrupts"]

# Between two checks whether the main thread goes on.
_PAUSE_S: Final = 0.2

# The block that is being kept, if there is one.
_active: Final[list["_Keeper"]] = []


@contextlib.contextmanager
def keep_interrupts() -> Iterator[None]:
    """In this block an interrupt ends in KeyboardInterrupt that reaches the caller, wherever it is raised at first.

    Where the block is not in the main thread, or something else than Python's own handler is at work, as in a program
    that embeds a command, nothing changes.
    """
    if not has_default_handler(signal.SIGINT, signal.default_int_handler):
        yield
        return
    keeper = _Keeper()
    _active.append(keeper)
    hook = sys.unraisablehook
    # A dropped interrupt is raised again: no need to print it.
    sys.unraisablehook = lambda dropped: None if dropped.exc_type is KeyboardInterrupt else hook(dropped)
    signal.signal(signal.SIGINT, keeper.notice)
    try:
        yield
    finally:
        keeper.over = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = hook
        _active.remove(keeper)


def has_default_handler(number: signal.Signals, default: object) -> bool:
    """Whether a command may handle a signal: in the main thread, where no program that embeds it does.

    Args:
        number: The signal.
        default: Its handler where no program has set another.
    """
    return threading.current_thread() is threading.main_thread() and signal.getsignal(number) is default


def interrupted() -> bool:
    """Whether there was an interrupt since the kept block began."""
    return any(keeper.noticed for keeper in _active)


def check_interrupt() -> None:
    """Raise an interrupt that was lost; call it before an irreversible step, such as replacing a file.

    Raises:
        KeyboardInterrupt: There was an interrupt, and it is not being handled.
    """
    handled = sys.exc_info()[1]
    while handled is not None and not isinstance(handled, KeyboardInterrupt):
        handled = handled.__context__
    if handled is None and interrupted():
        raise KeyboardInterrupt


class _Keeper:
    """The interrupts of one block."""

    def __init__(self) -> None:
        self.noticed = self.over = self._resending = False

    def notice(self, _number: int, _frame: FrameType | None) -> None:
        """The handler of the signal; Python calls it in the main thread."""
        resent, self._resending = self._resending, False
        if resent and sys.exc_info()[1] is not None:
            # An exception is being handled, as in every `finally` that the interrupt passes: let it finish.
            return
        if not self.noticed:
            self.noticed = True
            # Not threading.Thread: its locks may be held by what was interrupted.
            _thread.start_new_thread(self._resend, (_thread.get_ident(),))
        raise KeyboardInterrupt

    def _resend(self, main: int) -> None:
        while True:
            time.sleep(_PAUSE_S)
            if self.over:
                return
            self._resending = True
            if sys.platform == "win32":
                _thread.interrupt_main()
            else:
                # It ends a system call that the thread waits in, too.
                signal.pthread_kill(main, signal.SIGINT)
