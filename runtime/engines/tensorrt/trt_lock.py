"""The lock for calls into TensorRT that create or free its objects: one at a time, and none from within another.

Such a call holds a lock of the library while it logs. Its log goes to Python, where a garbage collection may start
and free an object of the library, which takes the same lock: a deadlock. It was seen with TensorRT
for RTX 1.7.1, in a process that had dropped a plan in a cycle of references. So nothing is collected meanwhile, and
threads take turns.
"""

import contextlib
import gc
import threading
from collections.abc import Iterator
from typing import Final

__all__ = ["trt_lock"]

_LOCK: Final = threading.RLock()


@contextlib.contextmanager
def trt_lock() -> Iterator[None]:
    """Hold it around what creates, loads, builds or frees objects of the library."""
    with _LOCK:
        collecting = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if collecting:
                gc.enable()
