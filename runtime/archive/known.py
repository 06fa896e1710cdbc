"""The rule by which an image has its record already: by the content of the file, and by its place.

- A file that has a record at its path, with the same bytes, is known.
- A file whose bytes have a record at another path is known where that path does not hold these bytes any more: the
  file was moved or renamed. Where it still does, this one is a copy, and gets a record of its own.
- A failed image is known by the same rule: it is tried again when its bytes change. One that could not be read at all
  is known by its path, and tried again when it can be read.
"""

import os
from pathlib import Path

from braintumor.files import sha256_of
from braintumor.runtime.image.decode import MAX_FILE_BYTES

__all__ = ["Known", "content_hash"]


class Known:
    """The images that have a record, or will get one in this run."""

    def __init__(self) -> None:
        # Content → place → whether it failed.
        self._places: dict[str | None, dict[str, bool]] = {}
        # Hashed in this run: need not be read again while they are there.
        self._hashed: set[tuple[str, str | None]] = set()

    def add(self, path: str, sha256: str | None, *, failed: bool) -> None:
        """Note a record.

        Args:
            path: As it is in the record; a relative one is looked for in the working folder.
            sha256: Of the file; None where it could not be read.
            failed: Whether it is a record of an error.
        """
        self._places.setdefault(sha256, {})[_place(path)] = failed

    def claim(self, path: str, sha256: str | None) -> bool | None:
        """Whether an image that has a record failed; None for an image without one, which is then to get it.

        Args:
            path: Of the file.
            sha256: Its `content_hash`.
        """
        place = _place(path)
        self._hashed.add((place, sha256))
        places = self._places.setdefault(sha256, {})
        if place in places:
            return places[place]
        for other in list(places) if sha256 is not None else ():
            if not self._holds(other, sha256):
                # Moved. Another copy at a third path must not take its record as well.
                places[place] = places.pop(other)
                return places[place]
        places[place] = False
        return None

    def _holds(self, place: str, sha256: str | None) -> bool:
        if not os.path.isfile(place):  # noqa: PTH113 - a Path raises where a name is too long
            return False
        return (place, sha256) in self._hashed or content_hash(place) == sha256


def content_hash(path: str) -> str | None:
    """SHA-256 of an image file; None where it cannot be read, or is larger than any that is."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path raises where a name holds a zero
        if not os.path.isfile(path) or status.st_size > MAX_FILE_BYTES:  # noqa: PTH113
            return None
        return sha256_of(Path(path))
    except (OSError, ValueError):
        return None


def _place(path: str) -> str:
    return os.path.normcase(os.path.abspath(path))  # noqa: PTH100 - keeps links, and never fails
