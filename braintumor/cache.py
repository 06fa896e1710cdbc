"""The user's cache: derived files that can always be made again, keyed by content, never shared."""

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from braintumor import __version__
from braintumor.errors import OutputError
from braintumor.files import sha256_of
from braintumor.lock import locked
from braintumor.work_folder import sweep, work_folder

__all__ = [
    "CACHE_VARIABLE",
    "cache_folder",
    "cached",
    "content_key",
    "discard",
    "forget",
    "found_in_cache",
    "remembered",
    "sweep_cache",
]

CACHE_VARIABLE = "BRAINTUMOR_CACHE"
_MANIFEST = "entry.json"
_LOCK = ".lock"
_FOUND: Final = "found.json"
_ABANDONED_S = 24 * 3600
# Of putting an entry where others are doing the same.
_ATTEMPTS = 5


def cache_folder() -> Path:
    """Where derived files go: $BRAINTUMOR_CACHE, or the platform's place for a user's caches.

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
        raise OutputError(
            f"there is no home folder for the cache ({error}); choose a folder: export {CACHE_VARIABLE}=DIR"
        ) from error
    return base / "braintumor"


def content_key(parts: Mapping[str, object]) -> str:
    """A key of 40 hexadecimal digits over everything that decides what an entry holds."""
    canonical = json.dumps(parts, sort_keys=True, default=str).encode()
    return hashlib.sha256(canonical).hexdigest()[:40]


def cached(
    kind: str,
    key: str,
    build: Callable[[Path], None],
    *,
    is_whole: Callable[[Path], bool] | None = None,
    alone: Callable[[], object] | None = None,
) -> Path:
    """The folder of one entry; built at the first call, hash-checked at every later one.

    Args:
        kind: A name for entries of one sort, such as "keras-to-onnx".
        key: What `content_key` gave.
        build: Fills the empty folder that it is given. When it raises, nothing is kept; an OSError counts as one of
            writing there.
        is_whole: Whether an entry is as it was built, for entries that carry hashes of their own, such as bundles.
        alone: Lets one process at a time build entries of this kind; called in those that have to wait. What a killed
            build left behind is removed by the next.

    Raises:
        OutputError: The cache cannot be written, or belongs to another user.
    """
    root = cache_folder() / kind
    entry = root / key
    whole = is_whole or _is_whole
    with _writing(root):
        # Asked before an entry is read, too: another user's entry may hold anything under a fitting hash.
        _refuse_foreign(root)
        if whole(entry):
            return entry
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_foreign(root)
        _make_private(root)
    with contextlib.ExitStack() as held:
        with _writing(root):
            if alone is not None:
                held.enter_context(locked(root / _LOCK, alone))
                if whole(entry):
                    return entry
            sweep(root, ".", _ABANDONED_S if alone is None else 0)
        with _writing(root), work_folder(root, f".{key[:8]}-") as work:
            build(work)
            if is_whole is None:
                _seal(work)
            _publish(work, entry, whole)
    return entry


def remembered(kind: str, parts: Mapping[str, object], find: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """What `find` gave when it was last asked under the same circumstances.

    An entry that is damaged is found again; without a usable cache everything is.

    Args:
        kind: A name for findings of one sort, such as "engine-choice".
        parts: All that it depends on.
        find: Gives plain data. When it raises, nothing is kept.
    """
    found: Mapping[str, Any] | None = None

    def build(folder: Path) -> None:
        nonlocal found
        found = find()
        (folder / _FOUND).write_text(json.dumps(found), encoding="utf-8")

    try:
        entry = cached(kind, _remembered_key(parts), build)
        if found is None:
            found = json.loads((entry / _FOUND).read_bytes())
    except OutputError:
        # No place to keep it, which costs time only.
        if found is None:
            found = find()
    return found


def forget(kind: str, parts: Mapping[str, object]) -> None:
    """Let `remembered` find it again."""
    discard(kind, _remembered_key(parts))


def _remembered_key(parts: Mapping[str, object]) -> str:
    return content_key({"version": __version__, **parts})


def sweep_cache() -> None:
    """Take away what killed builds of any kind left behind: their process is gone, or no build takes a day."""
    with contextlib.suppress(OSError, OutputError):
        for root in cache_folder().iterdir():
            sweep(root, ".", _ABANDONED_S)


def found_in_cache(kind: str, key: str, *, is_whole: Callable[[Path], bool] | None = None) -> Path | None:
    """The folder of an entry that was built earlier; None where there is none, or it is damaged.

    Args:
        kind: As for `cached`.
        key: As for `cached`.
        is_whole: As for `cached`.

    Raises:
        OutputError: The cache belongs to another user.
    """
    root = cache_folder() / kind
    _refuse_foreign(root)
    entry = root / key
    return entry if (is_whole or _is_whole)(entry) else None


def discard(kind: str, key: str) -> None:
    """Take an entry away, where there is one; one that cannot be taken away stays."""
    with contextlib.suppress(OutputError):
        shutil.rmtree(cache_folder() / kind / key, ignore_errors=True)


def _refuse_foreign(folder: Path) -> None:
    """Only the user may have written what is read back: it runs as native code."""
    if sys.platform == "win32" or not folder.exists():
        return
    owner = folder.stat().st_uid
    if owner != os.getuid():
        raise OutputError(
            f"the cache {folder} belongs to user id {owner}, not to you ({os.getuid()}); "
            f"choose a folder of your own: export {CACHE_VARIABLE}=DIR"
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
            f"the cache {root} cannot be written ({error.strerror or error}); free it, or choose another place: "
            f"export {CACHE_VARIABLE}=DIR"
        ) from error


def _seal(folder: Path) -> None:
    hashes = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
    (folder / _MANIFEST).write_text(json.dumps(hashes, indent=1), encoding="utf-8")


def _publish(work: Path, entry: Path, whole: Callable[[Path], bool]) -> None:
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(OSError):
            work.replace(entry)
            return
        # Another process was faster with the same content: its entry serves as well as ours.
        if whole(entry):
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


def _is_whole(entry: Path) -> bool:
    try:
        hashes = json.loads((entry / _MANIFEST).read_bytes())
        return bool(hashes) and all(sha256_of(entry / name) == wanted for name, wanted in hashes.items())
    except (OSError, ValueError, AttributeError, RecursionError):
        return False
