"""Watching folders: which files have arrived, and when a signal says to end."""

import contextlib
import os
import queue
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Final

from braintumor.errors import UsageError
from braintumor.interrupt import check_interrupt
from braintumor.runtime.image.folder import list_folder

__all__ = ["POLL_S", "Arrivals", "Stop", "check_folders", "stop_on_signals"]

POLL_S: Final = 1.0
"""Seconds between two looks into the folders."""

# A look into a large folder takes long: at most a fifth of the time is spent on it.
_IDLE_SHARE: Final = 4.0


class Arrivals:
    """The files of folders that are complete and were not handed out before.

    A file is complete when its size and its time of change are those of the look before: a copy that is being written
    changes them.
    """

    def __init__(self, folders: Iterable[str]) -> None:
        self._folders = tuple(folders)
        self._seen: dict[str, tuple[int, int]] = {}
        self._handed_out: dict[str, tuple[int, int]] = {}

    def look(self) -> list[str]:
        """Files that are complete since the last look, sorted by folder and name; changed ones once more."""
        present = {path: state for path in self._paths() if (state := _state(path)) is not None}
        complete = [
            path
            for path, state in present.items()
            if self._seen.get(path) == state and self._handed_out.get(path) != state
        ]
        self._seen = present
        # What has gone need not be remembered.
        self._handed_out = {path: state for path, state in self._handed_out.items() if path in present}
        self._handed_out |= {path: present[path] for path in complete}
        return complete

    def _paths(self) -> Iterator[str]:
        for folder in self._folders:
            # A folder below may go while it is read.
            with contextlib.suppress(UsageError):
                yield from list_folder(folder).images


class Stop:
    """Whether to end, set by a signal."""

    def __init__(self) -> None:
        self.requested = False
        # The one queue that a signal handler may put something into.
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()

    def request(self) -> None:
        """End as soon as what is being answered is written."""
        self.requested = True
        self._wake.put(None)

    def wait(self, seconds: float) -> None:
        """Wait so long, or until the end is requested."""
        if not self.requested:
            with contextlib.suppress(queue.Empty):
                self._wake.get(timeout=seconds)

    def until(self, paths: Iterable[str]) -> Iterator[str]:
        """The paths, until the end is requested."""
        for path in paths:
            if self.requested:
                return
            yield path

    def looks(self, arrivals: Arrivals, poll_s: float = POLL_S) -> Iterator[list[str]]:
        """What has arrived, look by look, until the end is requested; empty lists among them."""
        while not self.requested:
            start = time.monotonic()
            arrived = arrivals.look()
            took_s = time.monotonic() - start
            yield arrived
            self.wait(max(poll_s, _IDLE_SHARE * took_s))


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """In this block the first SIGINT or SIGTERM requests the end; a second one does what it did before."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    check_interrupt()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def request(_number: int, _frame: FrameType | None) -> None:
        restore()
        stop.request()

    for number in before:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        restore()


def check_folders(paths: Iterable[str]) -> None:
    """Refuse to watch what is not a folder.

    Raises:
        UsageError: A path is not that of a folder.
    """
    for path in paths:
        if not os.path.isdir(path):  # noqa: PTH112 - a Path raises where a name is too long
            raise UsageError(f"{path} is not a folder; `watch` waits for what arrives in folders", "name folders")


def _state(path: str) -> tuple[int, int] | None:
    """Size and time of change; None for a file that has gone, or is empty: it is only being made."""
    try:
        status = os.stat(path)  # noqa: PTH116 - keeps the spelling
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if status.st_size else None
