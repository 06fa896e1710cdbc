"""What the user typed as PATH, turned into image files and a bundle."""

import glob
import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from braintumor.errors import UsageError
from braintumor.runtime.bundle.load import MANIFEST, how_to_get
from braintumor.runtime.image.decode import SUFFIXES
from braintumor.runtime.image.formats import HEAD_BYTES, looks_like

__all__ = ["BUNDLES", "BUNDLE_VARIABLE", "choose_bundle", "expand", "find_bundle", "no_bundle"]

BUNDLES = Path("bundles")
"""Where `bt-export` puts bundles and `bt-infer` looks for them, in the working directory."""

BUNDLE_VARIABLE = "BRAINTUMOR_BUNDLE"

_KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")
_STDIN = "-"
# Kinds of files that are named when they are left out.
_KINDS = 4


Told = Callable[[str], object]
"""Is told of what a user should know, a line at a time."""


def expand(arguments: Sequence[str], stdin: Iterable[str], told: Told | None = None) -> list[str]:
    """The files that the arguments stand for, in their order; within a folder or a glob sorted by name.

    A file named on its own is kept whatever it is, even when it is missing: its prediction will say so.

    Args:
        arguments: Files, folders (searched recursively for image files, through links, too), globs, or "-" for a list
            on `stdin`.
        stdin: Lines with one path each.
        told: Of the files in a folder that are left out.

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
            found = [line for line in listed if line.strip()]
            if any("\0" in line for line in found):
                raise UsageError(
                    "standard input separates paths by NUL", "give one per line: find … -print | bt-infer -"
                )
            if not found:
                raise UsageError("standard input holds no path", "give one per line, as in: ls *.png | bt-infer -")
        elif os.path.isdir(argument):  # noqa: PTH112 - a Path raises where a name is too long or a parent is closed
            found = _images_below(argument, told)
        elif not os.path.lexists(argument) and glob.has_magic(argument):
            # A shell on Windows hands the glob on unexpanded.
            found = _matching(argument)
            if not found:
                raise UsageError(f"no file matches {argument!r}", "check the spelling and the folder")
        else:
            found = [argument]
        paths.extend(found)
    return paths


def _matching(pattern: str) -> list[str]:
    names = sorted(name for name in glob.glob(pattern, recursive=True) if os.path.isfile(name))  # noqa: PTH113, PTH207 - keeps the spelling
    if "**" not in pattern:
        return names
    # A link to a folder above leads to the same files again and again: the shortest way is taken.
    ways: dict[str, str] = {}
    for name in sorted(names, key=len):
        ways.setdefault(os.path.realpath(name), name)
    return sorted(ways.values())


def _images_below(folder: str, told: Told | None) -> list[str]:
    found: list[str] = []
    others: list[str] = []
    for path in _files_below(folder):
        # macOS keeps a "._scan.png" of its own beside a scan.png.
        if os.path.basename(path).startswith("."):  # noqa: PTH119 - keeps the spelling
            continue
        (found if _ending(path) in SUFFIXES else others).append(path)
    if not found:
        found_instead, remedy = _advice(min(others)) if others else ("", "")
        raise UsageError(f"{folder} holds no image; looked for {', '.join(sorted(SUFFIXES))}{found_instead}", remedy)
    if others and told is not None:
        kinds = Counter(sorted(_ending(path) or "without ending" for path in others))
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(_KINDS))
        told(f"{folder}: {len(others)} other files are left out ({listed}{', …' if len(kinds) > _KINDS else ''})")
    return sorted(found)


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


def _ending(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122 - keeps the spelling


def _advice(path: str) -> tuple[str, str]:
    """What the first of the files that are there instead is, and what to do with it."""
    try:
        with open(path, "rb") as stream:  # noqa: PTH123 - keeps the spelling
            known = looks_like(stream.read(HEAD_BYTES))
    except OSError:
        known = None
    return (f"; {path} is {known[0]}", known[1]) if known else ("", "")


def find_bundle(option: str | None, told: Told | None = None) -> Path | None:
    """The bundle to use: the option, $BRAINTUMOR_BUNDLE, or the one exported last below `BUNDLES`; None for none.

    Args:
        option: What the user named.
        told: Which one it is, where there are several.

    Raises:
        UsageError: What was named is not there or holds several.
    """
    if named := option or os.environ.get(BUNDLE_VARIABLE):
        return _named_bundle(Path(named))
    found = _bundles_in(BUNDLES)
    if not found:
        return None
    newest = max(found, key=lambda path: ((path / MANIFEST).stat().st_mtime_ns, path.as_posix()))
    if told is not None and len(found) > 1:
        others = ", ".join(path.name for path in found if path != newest)
        told(f"using {newest}, the newest in {BUNDLES} (others: {others}); choose another with `bundle`")
    return newest


def choose_bundle(option: str | None) -> Path:
    """The bundle to use, as `find_bundle`.

    Raises:
        UsageError: There is none.
    """
    found = find_bundle(option)
    if found is None:
        raise no_bundle()
    return found


def no_bundle() -> UsageError:
    """The error that says that there is no bundle, and how to make one."""
    return UsageError(
        f"no bundle: {BUNDLES.absolute()} holds none",
        f"make one with bt-export, or name one with `bundle` or ${BUNDLE_VARIABLE}",
    )


def _bundles_in(folder: Path) -> list[Path]:
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
    if folder.is_dir() and (inside := _bundles_in(folder)):
        names = ", ".join(path.name for path in inside)
        raise UsageError(f"{folder} holds the bundles {names}", f"name one of them, as in `bundle='{inside[0]}'`")
    if not folder.exists():
        beside = ", ".join(map(str, _bundles_in(folder.parent)))
        others = f", or use one that is there: {beside}" if beside else ""
        raise UsageError(f"there is no bundle {folder}", f"{how_to_get(folder)}{others}")
    return folder
