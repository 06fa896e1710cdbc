"""Check that the HDF5 library survives a file, in another process before this one reads it."""

import functools
import subprocess
import sys
from pathlib import Path
from typing import Final

from braintumor.errors import ModelError
from braintumor.export.from_keras.hdf5_trial import CPU_S

__all__ = ["require_readable"]

# A busy machine is slow to start a process.
_LIMIT_S: Final = 12.0 * CPU_S


@functools.lru_cache(maxsize=64)
def require_readable(path: Path, sha256: str, member: str | None = None) -> None:  # noqa: ARG001 - a part of the cache's key
    """Refuse a file over which the HDF5 library hangs or crashes.

    Args:
        path: The file.
        sha256: Of the file; the same contents are tried once.
        member: The HDF5 file inside of it, where it is a zip archive.

    Raises:
        ModelError: The library hangs or crashes.
    """
    command = [sys.executable, "-P", "-m", "braintumor.export.from_keras.hdf5_trial", str(path.resolve())]
    command += [member] if member else []
    try:
        trial = subprocess.run(  # noqa: S603 - our own module in our own interpreter
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        ended = "does not come back from"
    else:
        if trial.returncode == 0:
            return
        ended = (
            "crashes over" if trial.returncode >= 0 or not _ran_out(trial.returncode) else "does not come back from"
        )
    raise ModelError(f"{path} is damaged: the HDF5 library {ended} it", "save or copy it again")


def _ran_out(status: int) -> bool:
    """Whether the system ended a process because it had computed for too long."""
    import signal

    return sys.platform != "win32" and -status in {signal.SIGXCPU, signal.SIGKILL}
