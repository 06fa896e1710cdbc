"""A folder that is filled and then moved into place; what a killed process left of one goes at the next start."""

import contextlib
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from braintumor.lock import is_abandoned, locked

__all__ = ["sweep", "work_folder"]

_LOCK_SUFFIX: Final = ".lock"


@contextlib.contextmanager
def work_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """An empty folder for this block alone, its owner's only; gone at the end, unless it was moved.

    A lock file beside it, of the same name and `.lock`, is held meanwhile: the system frees it when the process ends,
    however it ends, and `sweep` knows by that what nobody fills any more.

    Args:
        parent: Where it lies.
        prefix: Of its name.

    Raises:
        OSError: It cannot be made.
    """
    folder = parent / f"{prefix}{secrets.token_hex(4)}"
    lock = _lock_of(folder)
    try:
        with locked(lock, lambda: None):
            folder.mkdir(mode=0o700)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()


def sweep(parent: Path, prefix: str, unlocked_after_s: float | None = None) -> None:
    """Take away work folders that nobody fills any more; one that cannot be taken away stays.

    Args:
        parent: Where they lie.
        prefix: Of their names.
        unlocked_after_s: Take those without a lock file, too, when they are older than this, in seconds.
    """
    for left in _beginning_with(parent, prefix):
        # Another process may be sweeping as well.
        with contextlib.suppress(OSError):
            if left.name.endswith(_LOCK_SUFFIX) or not left.is_dir() or left.is_symlink():
                continue
            lock = _lock_of(left)
            if is_abandoned(lock):
                shutil.rmtree(left)
                lock.unlink()
            elif unlocked_after_s is not None and not lock.exists() and _age_s(left) > unlocked_after_s:
                shutil.rmtree(left)


def _beginning_with(parent: Path, prefix: str) -> list[Path]:
    try:
        return sorted(path for path in parent.iterdir() if path.name.startswith(prefix))
    except OSError:
        return []


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}{_LOCK_SUFFIX}")


def _age_s(folder: Path) -> float:
    return time.time() - folder.stat().st_mtime
