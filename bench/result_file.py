"""The JSON file of a run, replaced after every step: a run that is cut short leaves its measurements."""

import contextlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from braintumor.bench.document import encode
from braintumor.files import atomic_text, output_error

__all__ = ["ResultFile", "Unfinished", "note_on_interrupt"]


class Unfinished(Protocol):
    """A result that tells whether its run was finished."""

    @property
    def unfinished(self) -> str | None:
        """Where the run was cut short, in words; None if it was finished."""
        ...


class ResultFile:
    """The JSON file of a command, if one was named.

    A file of an earlier run stays until the first new result is written.
    """

    def __init__(self, path: Path | None) -> None:
        """Check before the measurement that the file can be written.

        Raises:
            OutputError: It cannot be written.
        """
        self._path = path
        self._is_written = False
        # A pipe or a device gets the finished result only.
        self._is_file = path is not None and (path.is_file() or not path.exists())
        if path is not None and self._is_file:
            _probe(path)

    def write(self, result: Unfinished) -> None:
        """Replace the content of the file.

        Raises:
            OutputError: The disk is full, or the folder has gone.
        """
        if self._path is None or (result.unfinished and not self._is_file):
            return
        with atomic_text(self._path) as stream:
            json.dump(encode(result), stream, indent=1, allow_nan=False)
            stream.write("\n")
        self._is_written = True

    @contextlib.contextmanager
    def note_on_interrupt(self) -> Iterator[None]:
        """Add to a Ctrl-C where the measurements are."""
        with note_on_interrupt(self._note):
            yield

    def _note(self) -> str:
        return f"{self._path} holds what was measured until then" if self._is_written else ""


@contextlib.contextmanager
def note_on_interrupt(note: Callable[[], str]) -> Iterator[None]:
    """Add a note to a KeyboardInterrupt: where the measurements of the run are; "" for none."""
    try:
        yield
    except KeyboardInterrupt as error:
        if text := note():
            raise KeyboardInterrupt(text) from error
        raise


def _probe(path: Path) -> None:
    probe = Path(os.path.realpath(path)).with_name(f".braintumor-{secrets.token_hex(4)}.part")
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise output_error(path, error) from error
