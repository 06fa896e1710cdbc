"""An append-only file of lines that survives the end of its process, of the power and of the space on the disk.

A line is written at once and whole, so a killed process loses none. The system has all lines on the disk after at
most `SYNC_LINES` of them, or at the first line that comes after `SYNC_S`: a power cut costs no more. What a cut
leaves, an unfinished last line or blocks of zeros, is found by `whole_lines` at the next start.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from braintumor.errors import IntegrityError, UsageError
from braintumor.files import output_error
from braintumor.lock import locked

__all__ = ["SYNC_LINES", "SYNC_S", "Extent", "Journal", "lock_path", "locked_by_this_process", "whole_lines"]

SYNC_LINES: Final = 64
"""Lines that may be written before they are synced to the disk."""

SYNC_S: Final = 2.0
"""Seconds after which the next line is synced, with those before it."""


@dataclass(frozen=True, slots=True)
class Extent:
    """The part of a file that is whole.

    Attributes:
        lines: Number of its lines.
        size_bytes: Of these lines.
        torn_bytes: Behind them: what a killed process or a power cut left.
    """

    lines: int
    size_bytes: int
    torn_bytes: int


def whole_lines(path: Path, opening: bytes, accept: Callable[[bytes, int], str]) -> Extent:
    """Read a file, and tell where its whole lines end.

    What follows them may be cut off where it is what a cut leaves: an unfinished last line, or zeros in one of the
    last `SYNC_LINES` lines, which were not synced.

    Args:
        path: The file; one that is missing is empty.
        opening: The beginning of every such file. Another one is refused and never cut.
        accept: Called with each line, without its end, and its number from 1; returns why it is not a line of such a
            file, or "".

    Raises:
        IntegrityError: A line is damaged in another way, or long before the end.
        OutputError: The file cannot be read.
    """
    lines = size_bytes = 0
    problem, damaged = "", 0
    try:
        with path.open("rb") as stream:
            for line in stream:
                torn = not line.endswith(b"\n") or b"\0" in line
                if not lines and not damaged and not _opens(line, opening, torn=torn):
                    problem = "it is not the beginning of such a file"
                    break
                if not problem:
                    problem = "it is unfinished" if torn else accept(line[:-1], lines + 1)
                    if not problem:
                        lines, size_bytes = lines + 1, size_bytes + len(line)
                        continue
                    if not torn:
                        break
                damaged += 1
            length = os.fstat(stream.fileno()).st_size
    except FileNotFoundError:
        return Extent(0, 0, 0)
    except OSError as error:
        raise output_error(path, error) from error
    if problem and (not damaged or damaged > SYNC_LINES):
        raise IntegrityError(
            f"{path} is damaged in line {lines + 1}: {problem}", "restore it from a copy, or name another file"
        )
    return Extent(lines, size_bytes, length - size_bytes)


def lock_path(path: Path) -> Path:
    """The lock file of a journal, beside it."""
    return path.with_name(f".{path.name}.lock")


def _opens(line: bytes, opening: bytes, *, torn: bool) -> bool:
    """Whether a first line, or what a cut has left of it, begins as the files do."""
    left = line.partition(b"\0")[0]
    return left.startswith(opening) or (torn and opening.startswith(left))


@contextlib.contextmanager
def locked_by_this_process(path: Path) -> Iterator[None]:
    """Keep every other process from writing the same journal.

    Raises:
        UsageError: Another process writes it.
        OutputError: The folder is missing, or read-only.
    """

    def refuse() -> None:
        raise UsageError(f"another process is writing {path}", "wait until it ends, or name another file")

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(lock_path(path), refuse))
        except OSError as error:
            raise output_error(path, error) from error
        yield


class Journal:
    """The file, open at its end; a context manager. Hold `locked_by_this_process` meanwhile."""

    def __init__(self, path: Path, extent: Extent) -> None:
        """Open the file, made where it is missing, and cut off what is torn.

        Args:
            path: The file.
            extent: Its whole part, by `whole_lines`.

        Raises:
            OutputError: It cannot be written.
        """
        self._path = path
        self._size_bytes = extent.size_bytes
        self._unsynced = 0
        self._synced_s = time.monotonic()
        try:
            is_new = not path.exists()
            self._stream = path.open("ab", buffering=0)
            if extent.torn_bytes:
                self._stream.truncate(extent.size_bytes)
            os.fsync(self._stream.fileno())
            if is_new:
                _sync_folder(path.parent)
        except OSError as error:
            raise output_error(path, error) from error

    def __enter__(self) -> Self:
        """The journal itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file, as `close`."""
        self.close()

    def append(self, line: bytes) -> None:
        """Write one line; where there is no space for all of it, nothing of it stays.

        Args:
            line: With its line end, and no other.

        Raises:
            OutputError: The disk is full, or has gone.
        """
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[self._stream.write(rest) or 0 :]
        except OSError as error:
            with contextlib.suppress(OSError):
                self._stream.truncate(self._size_bytes)
            raise output_error(self._path, error) from error
        self._size_bytes += len(line)
        self._unsynced += 1
        if self._unsynced >= SYNC_LINES or time.monotonic() - self._synced_s >= SYNC_S:
            self.sync()

    def sync(self) -> None:
        """Wait until all lines are on the disk.

        Raises:
            OutputError: The disk is full, or has gone.
        """
        if self._unsynced:
            try:
                os.fsync(self._stream.fileno())
            except OSError as error:
                raise output_error(self._path, error) from error
            self._unsynced = 0
        self._synced_s = time.monotonic()

    def close(self) -> None:
        """Sync and close. May be called twice.

        Raises:
            OutputError: The disk is full, or has gone.
        """
        if not self._stream.closed:
            try:
                self.sync()
            finally:
                self._stream.close()


def _sync_folder(folder: Path) -> None:
    """Bring the name of a new file to the disk; Windows does it by itself, and cannot open a folder."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
