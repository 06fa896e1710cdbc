"""Files in the folder of a bundle: those that `bundle.json` lists, and those about it that lie beside.

A signature, a verdict on a signed bundle and the signature of the verdict are not listed, and nothing else may lie in
the folder.
"""

from pathlib import Path, PurePosixPath
from typing import Final

from braintumor.errors import IntegrityError

__all__ = [
    "BESIDE",
    "MANIFEST",
    "PLAIN_FILES",
    "SIGNATURE",
    "VERDICT",
    "VERDICT_SIGNATURE",
    "file_names",
    "is_signed",
    "keeps_verdict_beside",
    "read_beside",
]

MANIFEST: Final = "bundle.json"

SIGNATURE: Final = "bundle.sig"
"""The signature over all files of a bundle."""

VERDICT: Final = "verdict.json"
"""The verdict on a signed bundle; it takes the place of "acceptance" in `bundle.json`."""

VERDICT_SIGNATURE: Final = "verdict.sig"
"""The signature over `VERDICT`."""

BESIDE: Final = frozenset({SIGNATURE, VERDICT, VERDICT_SIGNATURE})
"""Files that may lie in a bundle without being listed in its `bundle.json`."""

PLAIN_FILES: Final = "copy the bundle with its contents"

_MAX_BESIDE_BYTES: Final = 1 << 20


def is_signed(root: Path) -> bool:
    """Whether a bundle has a signature, good or bad."""
    return (root / SIGNATURE).is_file()


def keeps_verdict_beside(root: Path) -> bool:
    """Whether the verdict on a bundle goes into `VERDICT`: to write it into `bundle.json` would end its signature."""
    return is_signed(root) or (root / VERDICT).is_file()


def file_names(root: Path) -> set[str]:
    """Names of all files in the folder of a bundle, with forward slashes.

    Raises:
        IntegrityError: A link or a special file is among them, or a folder cannot be listed.
    """
    try:
        return {name for path in root.rglob("*") if (name := _file_name(root, path))}
    except OSError as error:
        raise IntegrityError(
            f"{root} cannot be listed ({error.strerror or error})", "check its permissions"
        ) from error


def _file_name(root: Path, path: Path) -> str:
    """The name of a file; empty for a folder."""
    if path.is_symlink():
        raise IntegrityError(f"{path} is a link; a bundle holds plain files", PLAIN_FILES)
    if path.is_dir():
        return ""
    if not path.is_file():
        raise IntegrityError(f"{path} is neither a file nor a folder", "remove it from the bundle")
    return PurePosixPath(path.relative_to(root)).as_posix()


def read_beside(root: Path, name: str) -> bytes | None:
    """The bytes of a file of `BESIDE`; None where it is not there.

    Raises:
        IntegrityError: It is a link, too large, or cannot be read.
    """
    path = root / name
    try:
        if path.is_symlink():
            raise IntegrityError(f"{path} is a link; a bundle holds plain files", PLAIN_FILES)
        with path.open("rb") as stream:
            raw = stream.read(_MAX_BESIDE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read ({error.strerror or error})", "check its permissions") from error
    if len(raw) > _MAX_BESIDE_BYTES:
        raise IntegrityError(f"{path} has more than {_MAX_BESIDE_BYTES} bytes", "remove it from the folder")
    return raw
