"""Image files of a folder, listed in the same way by every command."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from braintumor.errors import UsageError

__all__ = ["SUFFIXES", "FolderListing", "NoteCallback", "hidden_note", "list_folder", "list_images"]

SUFFIXES: Final[frozenset[str]] = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".tif", ".tiff", ".bmp", ".dib"})
"""Lower-case endings of image files. A file named on its own is read whatever it is called."""

NoteCallback = Callable[[str], object]
"""Called with lines that a user should know."""


@dataclass(frozen=True, slots=True)
class FolderListing:
    """The files at any depth below a folder, as paths that begin as it was given.

    Attributes:
        images: Sorted.
        hidden: What would be images, but for a name, or a folder, that begins with a dot: macOS keeps a "._scan.png"
            beside a scan.png, notebooks a ".ipynb_checkpoints". Sorted.
        others: All others; unsorted.
    """

    images: tuple[str, ...]
    hidden: tuple[str, ...]
    others: tuple[str, ...]


def list_images(folder: Path, note: NoteCallback | None = None) -> list[Path]:
    """List the images at any depth below a folder, sorted.

    Args:
        folder: Links to folders are followed; one that is not there has no images.
        note: Called when hidden files are left out.

    Raises:
        UsageError: A folder cannot be listed.
    """
    if not folder.is_dir():
        return []
    listing = list_folder(folder)
    if listing.hidden and note is not None:
        note(hidden_note(folder, listing))
    return sorted(path for path in map(Path, listing.images) if path.is_file())  # and not a link to nowhere


def hidden_note(folder: str | os.PathLike[str], listing: FolderListing) -> str:
    """The line about hidden files that are left out."""
    return f"{folder}: hidden images are left out ({len(listing.hidden)}, such as {listing.hidden[0]})"


def list_folder(folder: str | os.PathLike[str]) -> FolderListing:
    """List the files at any depth below a folder, through links too.

    Raises:
        UsageError: A folder cannot be listed.
    """
    top = os.fspath(folder)
    images: list[str] = []
    hidden: list[str] = []
    others: list[str] = []
    for path in _files_below(top):
        inside = os.sep + path[len(top) :]
        if _suffix(path) not in SUFFIXES:
            others.append(path)
        elif f"{os.sep}." in inside:
            hidden.append(path)
        else:
            images.append(path)
    return FolderListing(tuple(sorted(images)), tuple(sorted(hidden)), tuple(others))


def _files_below(folder: str) -> Iterator[str]:
    def unreadable(error: OSError) -> None:
        raise UsageError(f"{error.filename} cannot be listed ({error.strerror})", "check its permissions") from error

    # Folders of data are often links; one that leads back is entered once.
    entered = {_identity(folder)}
    for parent, folders, names in os.walk(folder, onerror=unreadable, followlinks=True):
        identities = {name: _identity(os.path.join(parent, name)) for name in sorted(folders)}  # noqa: PTH118 - keeps the spelling
        folders[:] = []
        for name, identity in identities.items():
            if identity not in entered:
                entered.add(identity)
                folders.append(name)
        yield from (os.path.join(parent, name) for name in names)  # noqa: PTH118 - keeps the spelling of what was typed


def _identity(folder: str) -> tuple[int, int]:
    try:
        status = os.stat(folder)  # noqa: PTH116 - a Path raises where a name is too long
    except OSError as error:
        raise UsageError(f"{folder} cannot be listed ({error.strerror})", "check its permissions") from error
    return status.st_dev, status.st_ino


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122 - keeps the spelling
