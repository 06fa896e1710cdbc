"""Copying and removing bundles: whole, or not at all."""

import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Final

from braintumor.errors import IntegrityError, OutputError, UsageError
from braintumor.files import output_error
from braintumor.runtime.bundle.folder import BESIDE, MANIFEST
from braintumor.runtime.bundle.load import listed_files, load_bundle
from braintumor.runtime.bundle.schema import SCHEMA
from braintumor.runtime.bundle.summary import bundle_files
from braintumor.work_folder import give_usual_mode, work_folder

__all__ = ["check_removable", "copy_bundle", "foreign_file", "remove_bundle"]

_ELSEWHERE: Final = "name another place"


def copy_bundle(folder: Path, target: Path, public_key: Path | None = None) -> Path:
    """Copy a bundle, with its signatures; the copy is verified before it appears.

    Args:
        folder: Of the bundle.
        target: The folder of the copy; where there is a folder already, the copy goes into it, under its own name.
        public_key: The PEM file of a public key that must have signed it; None for any bundle.

    Returns:
        The folder of the copy.

    Raises:
        IntegrityError: It is not a bundle, it was changed, it is not signed with that key, or it was not copied well.
        OutputError: The place is taken, or cannot be written.
    """
    bundle = load_bundle(folder, public_key=public_key)
    target = target.absolute()
    if target.is_dir() and not (target / MANIFEST).exists():
        target /= bundle.folder.name
    if target.exists() or target.is_symlink():
        raise OutputError(f"{target} is there already", f"{_ELSEWHERE}, or remove it: bt-bundle remove {target}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with work_folder(target.parent, f".{target.name}-") as work:
            for path in bundle_files(bundle):
                _copy_file(path, work / path.relative_to(bundle.folder))
            copied = load_bundle(work, public_key=public_key)
            if copied.sha256 != bundle.sha256:
                raise IntegrityError(f"{folder} was changed while it was copied", "copy it again")
            give_usual_mode(work)
            work.rename(target)
    except OSError as error:
        raise output_error(target, error) from error
    return target


def _copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    # What is carried away on a stick must be on it.
    with target.open("rb+") as stream:
        os.fsync(stream.fileno())


def check_removable(folder: Path) -> None:
    """Refuse to remove what is not a bundle, or more than one.

    Raises:
        UsageError: It is not a bundle.
        OutputError: Something else lies in the folder, or it cannot be read.
    """
    try:
        if folder.is_symlink() or not _names(folder):
            raise UsageError(f"{folder} is not a bundle", f"name a folder with a {MANIFEST}")
        if foreign := foreign_file(folder):
            raise OutputError(
                f"{folder} holds {foreign}, which is not part of the bundle and would be lost", "move it away first"
            )
    except OSError as error:
        raise output_error(folder, error) from error


def remove_bundle(folder: Path) -> None:
    """Remove a bundle, damaged or not, and nothing else.

    Raises:
        UsageError, OutputError: As `check_removable`.
    """
    folder = folder.absolute()
    check_removable(folder)
    # In one step: what is left of a removal that is cut off is not taken for a bundle.
    removed = folder.with_name(f".{folder.name}-removed-{secrets.token_hex(4)}")
    try:
        folder.rename(removed)
        shutil.rmtree(removed)
    except OSError as error:
        raise output_error(folder, error) from error


def foreign_file(folder: Path) -> str | None:
    """The first file in a folder that is not part of a bundle; another program's `bundle.json` is not one.

    Raises:
        OSError: The folder cannot be read.
    """
    ours = _names(folder)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name not in ours and (path.is_symlink() or not path.is_dir()):
            return name
    return None


def _names(folder: Path) -> set[str]:
    """Names of the files of the bundle in a folder, which may be incomplete; none where there is no bundle."""
    try:
        details = json.loads((folder / MANIFEST).read_bytes())
        if not details["schema"].startswith(SCHEMA.partition("/")[0]):
            return set()
        return {MANIFEST, *BESIDE, *listed_files(details)}
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, AttributeError):
        return set()
