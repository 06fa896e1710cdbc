"""The user's cache: derived files that can always be made again, keyed by content, never shared.

CACHE = Cache("keras-to-onnx")
entry = CACHE.build(content_key({"model": sha256, "version": 2}), lambda folder: convert(model, folder))
"""

import contextlib
import functools
import hashlib
import json
import logging
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from braintumor.errors import OutputError, UnsafeCacheError
from braintumor.files import sha256_of
from braintumor.lock import locked
from braintumor.work_folder import sweep, work_folder

__all__ = ["CACHE_VARIABLE", "Cache", "cache_folder", "content_key", "sweep_cache", "tell_unsafe_cache"]

CACHE_VARIABLE = "BRAINTUMOR_CACHE"
_MANIFEST = "entry.json"
_LOCK = ".lock"
_JSON: Final = "found.json"
_BYTES: Final = "blob"
_ABANDONED_S = 24 * 3600
# Of putting an entry where others are doing the same.
_ATTEMPTS = 5
_LOG: Final = logging.getLogger("braintumor")
_REMEDY: Final = f"choose another folder: export {CACHE_VARIABLE}=DIR"


def cache_folder() -> Path:
    """The folder of derived files: $BRAINTUMOR_CACHE, or the platform's place for a user's caches.

    Without platformdirs, which no dependency of `bt-infer` brings: it would be one more package for three places.

    Raises:
        OutputError: The user has no home folder.
    """
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    try:
        if sys.platform == "win32":
            base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        elif sys.platform == "darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:
        # A container may run as a user id that has no name and no home.
        raise OutputError(f"there is no home folder for the cache ({error})", _REMEDY) from error
    return base / "braintumor"


def content_key(parts: Mapping[str, object]) -> str:
    """A key of 40 hexadecimal digits over everything that decides what an entry holds."""
    canonical = json.dumps(parts, sort_keys=True, default=str).encode()
    return hashlib.sha256(canonical).hexdigest()[:40]


def sweep_cache() -> None:
    """Remove what killed builds of any kind left behind: their process is gone, or no build takes a day."""
    with contextlib.suppress(OSError, OutputError):
        for root in cache_folder().iterdir():
            sweep(root, ".", _ABANDONED_S)


class Cache:
    """The entries of one kind. An entry is a folder whose files are hash-checked at every use."""

    def __init__(self, kind: str, *, is_whole: Callable[[Path], bool] | None = None) -> None:
        """Nothing is read or made before the first call.

        Args:
            kind: A name for entries of one sort, such as "keras-to-onnx".
            is_whole: Whether an entry is as it was built, for entries with hashes of their own, such as bundles.
        """
        self._kind = kind
        self._is_whole = is_whole or _is_whole
        self._sealed = is_whole is None

    @property
    def folder(self) -> Path:
        """The folder of the entries; it need not exist.

        Raises:
            OutputError: The user has no home folder.
        """
        return cache_folder() / self._kind

    def get(self, key: str) -> Path | None:
        """The folder of an entry that was built earlier; None where there is none, or it is damaged.

        Args:
            key: From `content_key`.

        Raises:
            UnsafeCacheError: The cache, or the entry, belongs to another user, or others may write into it.
        """
        entry = self.folder / key
        _refuse_unsafe(self.folder, entry)
        return entry if self._is_whole(entry) else None

    def build(self, key: str, fill: Callable[[Path], object], *, on_wait: Callable[[], object] | None = None) -> Path:
        """The folder of an entry, built at the first call.

        Args:
            key: From `content_key`.
            fill: Fills the empty folder that it is given. When it raises, nothing is kept; an OSError counts as one
                of writing there.
            on_wait: Lets one process at a time build entries of this kind; called in those that have to wait. What a
                killed build left behind is removed by the next.

        Raises:
            OutputError: The cache cannot be written.
            UnsafeCacheError: The cache, or the entry, belongs to another user, or others may write into it.
        """
        root = self.folder
        entry = root / key
        with _writing(root):
            # Checked before an entry is read, too: another user's entry may hold anything under a fitting hash.
            _refuse_unsafe(root, entry)
            if self._is_whole(entry):
                return entry
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            _refuse_unsafe(root, entry)
            _make_private(root)
        with contextlib.ExitStack() as stack:
            with _writing(root):
                if on_wait is not None:
                    stack.enter_context(locked(root / _LOCK, on_wait))
                    if self._is_whole(entry):
                        return entry
                sweep(root, ".", _ABANDONED_S if on_wait is None else 0)
            with _writing(root), work_folder(root, f".{key[:8]}-") as work:
                fill(work)
                if self._sealed:
                    _seal(work)
                self._publish(work, entry)
        return entry

    def put(self, key: str, fill: Callable[[Path], object]) -> Path:
        """Build an entry in the place of the one that is there; see `build`."""
        self.discard(key)
        return self.build(key, fill)

    def discard(self, key: str) -> None:
        """Remove an entry, where there is one; one that cannot be removed stays."""
        with contextlib.suppress(OutputError):
            shutil.rmtree(self.folder / key, ignore_errors=True)

    def get_bytes(self, key: str) -> bytes:
        """The bytes that `put_bytes` stored; empty when there is nothing, or no usable cache."""
        try:
            entry = self.get(key)
            return b"" if entry is None else (entry / _BYTES).read_bytes()
        except (OutputError, OSError):
            return b""

    def put_bytes(self, key: str, data: bytes) -> None:
        """Store bytes in the place of those that are there; without a usable cache they are lost."""
        with contextlib.suppress(OutputError, OSError):
            self.put(key, lambda folder: (folder / _BYTES).write_bytes(data))

    def build_json(
        self,
        key: str,
        compute: Callable[[], Mapping[str, Any]],
        *,
        on_lost: Callable[[OutputError], object] = lambda _: None,
    ) -> Mapping[str, Any]:
        """Plain data, computed at the first call; without a usable cache at every call.

        Args:
            key: From `content_key`.
            compute: When it raises, nothing is kept.
            on_lost: Called with the reason when the data cannot be kept.
        """
        data: Mapping[str, Any] | None = None

        def fill(folder: Path) -> None:
            nonlocal data
            data = compute()
            (folder / _JSON).write_text(json.dumps(data), encoding="utf-8")

        try:
            entry = self.build(key, fill)
            if data is None:
                data = json.loads((entry / _JSON).read_bytes())
        except OutputError as error:
            # No place to keep it, which costs time only.
            if data is None:
                data = compute()
            on_lost(error)
        return data

    def _publish(self, work: Path, entry: Path) -> None:
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(OSError):
                work.replace(entry)
                return
            # Another process was faster with the same content: its entry serves as well as ours.
            if self._is_whole(entry):
                return
            # What lies there is damaged. It moves aside in one step, so that no reader meets half of it.
            aside = Path(tempfile.mkdtemp(prefix=".damaged-", dir=entry.parent))
            try:
                # Another process may be moving it as well.
                with contextlib.suppress(OSError):
                    entry.rename(aside / "entry")
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        work.replace(entry)


def tell_unsafe_cache(error: Exception) -> None:
    """Log, once for each cache, that it is not used because others may have written it.

    Args:
        error: What a cache raised; any other than `UnsafeCacheError` is not told.
    """
    if isinstance(error, UnsafeCacheError):
        _warn_once(str(error))


@functools.cache
def _warn_once(message: str) -> None:
    _LOG.warning("%s", message)


def _refuse_unsafe(root: Path, entry: Path) -> None:
    """Refuse what anyone else may have written: it may hold anything under a fitting hash, and runs as code."""
    if sys.platform == "win32":
        return
    for folder in (root, entry):
        # Whatever cannot be looked at cannot be read either.
        with contextlib.suppress(OSError):
            status = folder.stat()
            _refuse_owner(folder, status.st_uid)
            if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise UnsafeCacheError(
                    f"others may write into the cache {folder} (mode {stat.S_IMODE(status.st_mode):o})",
                    f"remove it, or {_REMEDY}",
                )
    with contextlib.suppress(OSError):
        for path in entry.iterdir():
            _refuse_owner(path, path.lstat().st_uid)


def _refuse_owner(path: Path, owner: int) -> None:
    if owner != os.getuid():
        raise UnsafeCacheError(
            f"the cache {path} belongs to user id {owner}, not to you ({os.getuid()})",
            f"choose a folder of your own: export {CACHE_VARIABLE}=DIR",
        )


def _make_private(folder: Path) -> None:
    if sys.platform != "win32":
        folder.chmod(0o700)


@contextlib.contextmanager
def _writing(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"the cache {root} cannot be written ({error.strerror or error})",
            f"free some space, or {_REMEDY}",
        ) from error


def _seal(folder: Path) -> None:
    hashes = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
    (folder / _MANIFEST).write_text(json.dumps(hashes, indent=1), encoding="utf-8")


def _is_whole(entry: Path) -> bool:
    try:
        hashes = json.loads((entry / _MANIFEST).read_bytes())
        return bool(hashes) and all(sha256_of(entry / name) == sha256 for name, sha256 in hashes.items())
    except (OSError, ValueError, AttributeError, RecursionError):
        return False
