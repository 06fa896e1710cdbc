"""Ctrl-C, SIGTERM and SIGHUP that are not lost.

Each raises KeyboardInterrupt wherever the main thread happens to be, and some places do not let it through: what is
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

__all__ = ["check_interrupt", "interrupted", "interrupting_signal", "keep_interrupts"]

# Between two checks whether the main thread goes on.
_PAUSE_S: Final = 0.2

# Signal → its handler where no program that embeds us has set another. `nohup` and a shell's `&` have some ignored.
_SIGNALS: Final = {
    getattr(signal, name): default
    for name, default in (
        ("SIGINT", signal.default_int_handler),
        ("SIGTERM", signal.SIG_DFL),
        ("SIGHUP", signal.SIG_DFL),
    )
    if hasattr(signal, name)  # Windows has no SIGHUP
}

# The block that is being kept, if there is one.
_active: Final[list["_Keeper"]] = []


@contextlib.contextmanager
def keep_interrupts() -> Iterator[None]:
    """In this block an interrupt ends in KeyboardInterrupt that reaches the caller, wherever it is raised at first.

    Where the block is not in the main thread, nothing changes; a signal that has another handler than Python's own,
    as in a program that embeds a command, keeps it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: default for number, default in _SIGNALS.items() if signal.getsignal(number) is default}
    keeper = _Keeper()
    _active.append(keeper)
    hook, shown = sys.unraisablehook, sys.excepthook
    # A dropped interrupt is raised again: no need to print it.
    sys.unraisablehook = lambda dropped: None if dropped.exc_type is KeyboardInterrupt else hook(dropped)
    # NumPy and other extension modules print what interrupts them while they are imported.
    sys.excepthook = lambda kind, *rest: None if issubclass(kind, KeyboardInterrupt) else shown(kind, *rest)
    for number in kept:
        signal.signal(number, keeper.notice)
    try:
        yield
    finally:
        keeper.over = True
        for number, default in kept.items():
            signal.signal(number, default)
        sys.unraisablehook, sys.excepthook = hook, shown
        _active.remove(keeper)


def interrupted() -> bool:
    """Whether there was an interrupt since the kept block began."""
    return interrupting_signal() is not None


def interrupting_signal() -> int | None:
    """The first signal that came since the kept block began; None where there was none."""
    return next((keeper.first for keeper in _active if keeper.first is not None), None)


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
        self.first: int | None = None
        self.over = self._resending = False

    def notice(self, number: int, _frame: FrameType | None) -> None:
        """The handler of the signals; Python calls it in the main thread."""
        resent, self._resending = self._resending, False
        # A terminal that closes sends SIGHUP more than once; only a second Ctrl-C is a person who cannot wait.
        patient = resent or (self.first is not None and number != signal.SIGINT)
        if patient and sys.exc_info()[1] is not None:
            # An exception is being handled, as in every `finally` that the interrupt passes: let it finish.
            return
        if self.first is None:
            self.first = number
            # Not threading.Thread: its locks may be held by what was interrupted.
            _thread.start_new_thread(self._resend, (_thread.get_ident(), number))
        raise KeyboardInterrupt

    def _resend(self, main: int, number: int) -> None:
        while True:
            time.sleep(_PAUSE_S)
            if self.over:
                return
            self._resending = True
            if sys.platform == "win32":
                _thread.interrupt_main(number)
            else:
                # It ends a system call that the thread waits in, too.
                signal.pthread_kill(main, number)
