"""Too little memory, told as such: libraries abort, or report it as a damaged file or a broken installation."""

import errno
import os
import sys
from typing import Final

from braintumor.errors import BraintumorError, OutOfMemoryError

__all__ = ["memory_limit_bytes", "out_of_memory", "require_memory"]

_REMEDY: Final = "close other programs, or allow more memory"
# Below that, OpenBLAS may abort the process when NumPy is imported: it did at 102 MB, not at 205 MB, on 2 CPUs; each
# thread takes 8 MB of stack, and its buffers. No engine loads a model below 400 MB.
_LEAST_BYTES: Final = 300_000_000
_PER_CPU_BYTES: Final = 50_000_000

_WORDS: Final = ("bad_alloc", "cannot allocate memory", "failed to map segment", "not enough memory", "out of memory")


def memory_limit_bytes() -> int | None:
    """The limit of this process's address space (`ulimit -v`); None for none."""
    if sys.platform == "win32":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def require_memory() -> None:
    """Refuse to begin where the libraries would abort.

    Raises:
        OutOfMemoryError: The limit of the address space is too low.
    """
    limit = memory_limit_bytes()
    least = _LEAST_BYTES + _PER_CPU_BYTES * (os.cpu_count() or 1)
    if limit is not None and limit < least:
        raise OutOfMemoryError(
            f"memory is limited to {limit // 1_000_000} MB; must be {least // 1_000_000} MB or more to start",
            "allow more with: ulimit -v unlimited",
        )


def out_of_memory(error: BaseException) -> OutOfMemoryError | None:
    """The error to report where too little memory is what caused another; None where it is not."""
    if isinstance(error, OutOfMemoryError):
        return None
    causes: list[BaseException] = []
    while error not in causes:
        causes.append(error)
        error = error.__cause__ or error.__context__ or error
    cause = next(filter(_is_lack_of_memory, causes), None)
    if cause is None:
        return None
    limit = memory_limit_bytes()
    allowed = f"limited to {limit // 1_000_000} MB by ulimit -v" if limit else "all in use"
    reason = " ".join(str(cause).split()) or type(cause).__name__
    return OutOfMemoryError(f"there is too little memory: it is {allowed} ({reason})", _REMEDY)


def _is_lack_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    # Libraries in C++ give the text of their exception, in classes of their own.
    return not isinstance(error, BraintumorError) and any(word in str(error).lower() for word in _WORDS)
