"""Folders that are filled and then moved into place; what a killed process left is removed at the next start."""

import contextlib
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from braintumor.lock import is_abandoned, locked

__all__ = ["give_usual_mode", "sweep", "work_folder"]

_LOCK_SUFFIX: Final = ".lock"


@contextlib.contextmanager
def work_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """An empty folder for this block alone, its owner's only; gone at the end, unless it was moved.

    A lock file beside it, of the same name and `.lock`, is held meanwhile: the system frees it when the process ends,
    however it ends, and `sweep` knows by that what nobody fills any more.

    Args:
        parent: Its parent folder.
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


def give_usual_mode(folder: Path) -> None:
    """Give a work folder, which is private to its owner, the permissions of the umask.

    Raises:
        OSError: It cannot be changed.
    """
    if sys.platform != "win32":
        umask = os.umask(0)
        os.umask(umask)
        folder.chmod(0o777 & ~umask)


def sweep(parent: Path, prefix: str, unlocked_after_s: float | None = None) -> None:
    """Remove work folders that nobody fills any more; one that cannot be removed stays.

    Args:
        parent: Their parent folder.
        prefix: Of their names.
        unlocked_after_s: Remove those without a lock file, too, when they are older than this, in seconds.
    """
    for folder in _beginning_with(parent, prefix):
        # Another process may be sweeping as well.
        with contextlib.suppress(OSError):
            if folder.name.endswith(_LOCK_SUFFIX) or not folder.is_dir() or folder.is_symlink():
                continue
            lock = _lock_of(folder)
            if is_abandoned(lock):
                shutil.rmtree(folder)
                lock.unlink()
            elif unlocked_after_s is not None and not lock.exists() and _age_s(folder) > unlocked_after_s:
                shutil.rmtree(folder)


def _beginning_with(parent: Path, prefix: str) -> list[Path]:
    try:
        return sorted(path for path in parent.iterdir() if path.name.startswith(prefix))
    except OSError:
        return []


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}{_LOCK_SUFFIX}")


def _age_s(folder: Path) -> float:
    return time.time() - folder.stat().st_mtime
