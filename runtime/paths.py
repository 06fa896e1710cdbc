"""What the user typed as PATH, turned into image files and a bundle."""

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from braintumor.errors import UsageError
from braintumor.runtime.bundle import MANIFEST
from braintumor.runtime.image import SUFFIXES

__all__ = ["BUNDLES", "BUNDLE_VARIABLE", "choose_bundle", "expand"]

BUNDLES = Path("bundles")
"""Where `bt-export` puts bundles and `bt-infer` looks for them, in the working directory."""

BUNDLE_VARIABLE = "BRAINTUMOR_BUNDLE"

_STDIN = "-"


def expand(arguments: Sequence[str], stdin: Iterable[str]) -> list[str]:
    """The files that the arguments stand for, in their order; within a folder or a glob sorted by name.

    A file named on its own is kept whatever it is, even when it is missing: its record will say so.

    Args:
        arguments: Files, folders (searched recursively for image files), globs, or "-" for a list on `stdin`.
        stdin: Lines with one path each.

    Raises:
        UsageError: A folder without images, a glob that matches nothing, an empty list or argument.
    """
    paths: list[str] = []
    for argument in arguments:
        if not argument:
            raise UsageError(
                "a PATH is empty; perhaps a variable of the shell that is not set: name a file or a folder"
            )
        if argument == _STDIN:
            # Some programs on Windows begin a list with a byte order mark.
            listed = [line.rstrip("\r\n").removeprefix("\ufeff") for line in stdin]
            found = [line for line in listed if line.strip()]
            if not found:
                raise UsageError("standard input holds no path; give one a line, as in: ls *.png | bt-infer -")
        elif os.path.isdir(argument):  # noqa: PTH112 - a Path raises where a name is too long or a parent is closed
            found = _images_below(argument)
        elif not os.path.lexists(argument) and glob.has_magic(argument):
            # A shell on Windows hands the glob on unexpanded.
            found = sorted(name for name in glob.glob(argument, recursive=True) if os.path.isfile(name))  # noqa: PTH113, PTH207 - as above, and keeps the spelling
            if not found:
                raise UsageError(f"no file matches {argument!r}; check the spelling and the folder")
        else:
            found = [argument]
        paths.extend(found)
    return paths


def _images_below(folder: str) -> list[str]:
    def unreadable(error: OSError) -> None:
        raise UsageError(f"{error.filename} cannot be listed ({error.strerror}); check its permissions") from error

    found = [
        os.path.join(parent, name)  # noqa: PTH118 - keeps the spelling of what was typed
        for parent, _, names in os.walk(folder, onerror=unreadable)
        for name in names
        # macOS keeps a "._scan.png" of its own beside a scan.png.
        if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 - as above
    ]
    if not found:
        raise UsageError(f"{folder} holds no image; looked for files ending in {', '.join(sorted(SUFFIXES))}")
    return sorted(found)


def choose_bundle(option: str | None) -> Path:
    """The bundle to use: the option, $BRAINTUMOR_BUNDLE, or the one exported last below `BUNDLES`.

    Raises:
        UsageError: None was named and there is none.
    """
    if named := option or os.environ.get(BUNDLE_VARIABLE):
        return Path(named)
    # A name with a dot is an export that is being written.
    manifests = [path for path in BUNDLES.glob(f"*/{MANIFEST}") if not path.parent.name.startswith(".")]
    if not manifests:
        raise UsageError(
            f"no bundle: {BUNDLES.absolute()} holds none; make one with: bt-export --precision fp32, "
            f"or name one with --bundle DIR or ${BUNDLE_VARIABLE}"
        )
    return max(manifests, key=lambda path: (path.stat().st_mtime_ns, path.as_posix())).parent
