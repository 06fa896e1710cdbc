"""A result that is written anew whenever more of it is known: what a run that is cut short has measured stays."""

import contextlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from braintumor.bench.document import encode
from braintumor.files import atomic_text, output_error

__all__ = ["Kept", "Unfinished", "told_when_interrupted"]


class Unfinished(Protocol):
    """A result that says how far its run went."""

    @property
    def unfinished(self) -> str | None:
        """Where the run was cut short, in words; None for a whole one."""
        ...


class Kept:
    """The JSON file of a command, if one was asked for.

    A file of an earlier run stays until the first of the new figures are there.
    """

    def __init__(self, path: Path | None) -> None:
        """Find out before an hour of measuring whether it can be written.

        Raises:
            OutputError: It cannot.
        """
        self._path = path
        self._is_written = False
        # A pipe or a device takes the whole result, once.
        self._is_file = path is not None and (path.is_file() or not path.exists())
        if path is not None and self._is_file:
            _probe(path)

    def write(self, result: Unfinished) -> None:
        """Replace what the file holds.

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
    def kept_when_interrupted(self) -> Iterator[None]:
        """Ctrl-C says where the figures are."""
        with told_when_interrupted(self._left):
            yield

    def _left(self) -> str:
        return f"{self._path} holds what was measured until then" if self._is_written else ""


@contextlib.contextmanager
def told_when_interrupted(left: Callable[[], str]) -> Iterator[None]:
    """Ctrl-C is told with what is left of a run, in words; "" for nothing."""
    try:
        yield
    except KeyboardInterrupt as error:
        if text := left():
            raise KeyboardInterrupt(text) from error
        raise


def _probe(path: Path) -> None:
    probe = Path(os.path.realpath(path)).with_name(f".braintumor-{secrets.token_hex(4)}.part")
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise output_error(path, error) from error
