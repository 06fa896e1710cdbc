"""The stack on which a thread handles signals, kept as it was.

OpenVINO 2026.4 gives the thread that loads its CPU plugin a signal stack of 11,568 bytes (on a CPU with AVX-512) and
leaves it there. Python handles signals on such a stack, where the registers of AVX-512 are saved twice, once by the
kernel and once by the dynamic linker, and overflows it now and then: Ctrl-C ends in a segmentation fault.
"""

import contextlib
import ctypes
import sys
from collections.abc import Iterator

__all__ = ["signal_stack", "signal_stack_kept"]


class _Stack(ctypes.Structure):
    """`stack_t` as Linux lays it out."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size_bytes", ctypes.c_size_t))


@contextlib.contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Whatever this block does to the signal stack of its thread is undone; on Linux, where it matters."""
    if sys.platform != "linux":
        yield
        return
    before = _current()
    try:
        yield
    finally:
        ctypes.CDLL(None).sigaltstack(ctypes.byref(before), None)


def signal_stack() -> tuple[int, int]:
    """Address and size in bytes of this thread's signal stack; (0, 0) where it has none."""
    stack = _current()
    return stack.address or 0, stack.size_bytes


def _current() -> _Stack:
    stack = _Stack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack))
    return stack
