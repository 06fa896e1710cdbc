"""Paths that the user typed, turned into image files and a bundle."""

import glob
import os
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from braintumor.errors import UsageError
from braintumor.runtime.bundle.default import choose_default, read_candidate
from braintumor.runtime.bundle.load import MANIFEST, how_to_get
from braintumor.runtime.image.folder import SUFFIXES, NoteCallback, hidden_note, list_folder
from braintumor.runtime.image.formats import HEAD_BYTES, describe_foreign

__all__ = ["BUNDLES", "BUNDLE_VARIABLE", "bundles_in", "choose_bundle", "expand", "find_bundle", "no_bundle"]

BUNDLES = Path("bundles")
"""The folder of bundles in the working directory: `bt-export` writes there, `bt-infer` looks there."""

BUNDLE_VARIABLE = "BRAINTUMOR_BUNDLE"

_KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")
_STDIN = "-"
# Kinds of files that are named when they are left out.
_KINDS = 4


def expand(arguments: Sequence[str], stdin: Iterable[str], note: NoteCallback | None = None) -> list[str]:
    """The files that the arguments stand for, in their order; within a folder or a glob sorted by name.

    A file named on its own is kept whatever it is, even when it is missing: its prediction will say so.

    Args:
        arguments: Files, folders (searched recursively for image files, through links, too), globs, or "-" for a list
            on `stdin`.
        stdin: Lines with one path each.
        note: Called about files in a folder that are left out.

    Raises:
        UsageError: A folder without images, a glob that matches nothing, an empty list or argument.
    """
    paths: list[str] = []
    for argument in arguments:
        if not argument:
            raise UsageError("a path is empty; perhaps a shell variable is not set", "name a file or a folder")
        if argument == _STDIN:
            # Some programs on Windows begin a list with a byte order mark.
            listed = [line.rstrip("\r\n").removeprefix("\ufeff") for line in stdin]
            named = [line for line in listed if line.strip()]
            if any("\0" in line for line in named):
                raise UsageError(
                    "standard input separates paths by NUL", "give one per line: find … -print | bt-infer -"
                )
            if not named:
                raise UsageError("standard input holds no path", "give one per line, as in: ls *.png | bt-infer -")
        elif os.path.isdir(argument):  # noqa: PTH112 - a Path raises where a name is too long or a parent is closed
            named = _images_below(argument, note)
        elif not os.path.lexists(argument) and glob.has_magic(argument):
            # A shell on Windows hands the glob on unexpanded.
            named = _matching(argument)
            if not named:
                raise UsageError(f"no file matches {argument!r}", "check the spelling and the folder")
        else:
            named = [argument]
        paths.extend(named)
    return paths


def _matching(pattern: str) -> list[str]:
    names = sorted(name for name in glob.glob(pattern, recursive=True) if os.path.isfile(name))  # noqa: PTH113, PTH207 - keeps the spelling
    if "**" not in pattern:
        return names
    # A link to a folder above leads to the same files again and again: the shortest path is taken.
    shortest: dict[str, str] = {}
    for name in sorted(names, key=len):
        shortest.setdefault(os.path.realpath(name), name)
    return sorted(shortest.values())


def _images_below(folder: str, note: NoteCallback | None) -> list[str]:
    listing = list_folder(folder)
    # Hidden files that are no images, such as .DS_Store, concern nobody.
    others = [path for path in listing.others if not os.path.basename(path).startswith(".")]  # noqa: PTH119 - keeps the spelling
    if not listing.images:
        instead, remedy = _foreign_file(min(others)) if others else ("", "")
        raise UsageError(f"{folder} holds no image; looked for {', '.join(sorted(SUFFIXES))}{instead}", remedy)
    if others and note is not None:
        kinds = Counter(sorted(_suffix(path) or "without ending" for path in others))
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(_KINDS))
        note(f"{folder}: {len(others)} other files are left out ({listed}{', …' if len(kinds) > _KINDS else ''})")
    if listing.hidden and note is not None:
        note(hidden_note(folder, listing))
    return list(listing.images)


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122 - keeps the spelling


def _foreign_file(path: str) -> tuple[str, str]:
    """A clause about a file that is there instead of images, and the remedy."""
    try:
        with open(path, "rb") as stream:  # noqa: PTH123 - keeps the spelling
            known = describe_foreign(stream.read(HEAD_BYTES))
    except OSError:
        known = None
    return (f"; {path} is {known[0]}", known[1]) if known else ("", "")


def find_bundle(option: str | None, note: NoteCallback | None = None) -> Path | None:
    """The bundle to use: the option, $BRAINTUMOR_BUNDLE, or the default of `BUNDLES`; None for none.

    The default is the accepted bundle that was exported last; without one, the last that was not judged; never one
    that was refused (`braintumor.runtime.bundle.default`).

    Args:
        option: The folder that the user named.
        note: Called with the choice, where there are several.

    Raises:
        UsageError: The named folder is not there, or holds several; or all bundles below `BUNDLES` were refused.
    """
    if named := option or os.environ.get(BUNDLE_VARIABLE):
        return _named_bundle(Path(named))
    bundles = bundles_in(BUNDLES)
    if not bundles:
        return None
    candidates = [read_candidate(folder / MANIFEST) for folder in bundles]
    chosen = choose_default(candidates)
    if note is not None and len(candidates) > 1:
        others = "; ".join(f"{other.folder.name}: {other}" for other in candidates if other is not chosen)
        note(f"using {chosen.folder}: {chosen} (others: {others}); choose another with `bundle`")
    return chosen.folder


def choose_bundle(option: str | None) -> Path:
    """The bundle to use, as `find_bundle`.

    Raises:
        UsageError: There is none.
    """
    bundle = find_bundle(option)
    if bundle is None:
        raise no_bundle()
    return bundle


def no_bundle() -> UsageError:
    """The error for a working directory without a bundle; the remedy makes one."""
    return UsageError(
        f"no bundle: {BUNDLES.absolute()} holds none",
        f"make one with bt-export, or name one with `bundle` or ${BUNDLE_VARIABLE}",
    )


def bundles_in(folder: Path) -> list[Path]:
    """The bundles in a folder, by name."""
    # A name with a dot is an export that is being written.
    return sorted(path.parent for path in folder.glob(f"*/{MANIFEST}") if not path.parent.name.startswith("."))


def _named_bundle(folder: Path) -> Path:
    if (folder / MANIFEST).is_file():
        return folder
    whole = next((parent for parent in list(folder.parents)[:2] if (parent / MANIFEST).is_file()), None)
    if whole is not None and folder.exists():
        raise UsageError(f"{folder} is a part of a bundle", f"name all of it: `bundle='{whole}'`")
    if folder.suffix in _KERAS_SUFFIXES:
        raise UsageError(
            f"{folder} is a Keras model", f"make a bundle of it with: bt-export {shlex.quote(str(folder))}"
        )
    if folder.is_dir() and (inside := bundles_in(folder)):
        names = ", ".join(path.name for path in inside)
        raise UsageError(f"{folder} holds the bundles {names}", f"name one of them, as in `bundle='{inside[0]}'`")
    if not folder.exists():
        beside = ", ".join(map(str, bundles_in(folder.parent)))
        others = f", or use one that is there: {beside}" if beside else ""
        raise UsageError(f"there is no bundle {folder}", f"{how_to_get(folder)}{others}")
    return folder
