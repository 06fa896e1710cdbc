"""Writing a bundle, as a whole or not at all."""

import datetime as dt
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from braintumor.errors import IntegrityError, OutputError
from braintumor.files import output_error, sha256_of
from braintumor.runtime.bundle.acceptance import (
    EXPORTED,
    IDENTITY,
    IDENTITY_VERSION,
    identity,
    manifest_text,
)
from braintumor.runtime.bundle.checksum import with_checksum
from braintumor.runtime.bundle.folder import MANIFEST
from braintumor.runtime.bundle.load import Bundle, load_bundle
from braintumor.runtime.bundle.schema import FUSION, SCHEMA, parse_bundle
from braintumor.runtime.bundle.transfer import foreign_file
from braintumor.runtime.cascade import CASCADE, Cascade
from braintumor.runtime.image.decode import DECODE_VERSION
from braintumor.work_folder import give_usual_mode, sweep, work_folder

__all__ = ["bundle_there", "check_destination", "write_bundle"]

_ANOTHER_FOLDER: Final = "choose another `folder`"


def write_bundle(  # noqa: PLR0913 - keywords
    folder: Path,
    *,
    name: str,
    classes: Sequence[str],
    members: Sequence[Mapping[str, Any]],
    files: Mapping[str, Path],
    command: str,
    probes: Mapping[str, Path] = MappingProxyType({}),
    temperature: float = 1.0,
    cascade: Callable[[Bundle], Cascade | None] = lambda _: None,
) -> Bundle:
    """Write a bundle next to its place, verify it as a reader would, and move it there in one step.

    A bundle that was there before stays until then, and stays when something fails.

    Args:
        folder: Where the bundle goes; missing, empty, or an older bundle.
        name: Of the bundle.
        classes: Names of the outputs, in order.
        members: One entry each, without "file", "sha256" and "size_bytes", which its "probe" lacks, too.
        files: Member name → its ONNX file, which is copied.
        command: The command line.
        probes: Member name → its probe's images, which are copied; a member may have none.
        temperature: Of the vote.
        cascade: Chooses the cascade of the bundle, which can be loaded already; None for none.

    Raises:
        OutputError: The folder cannot be written or holds something else.
    """
    folder = folder.absolute()
    check_destination(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        sweep(folder.parent, f".{folder.name}-")
        with work_folder(folder.parent, f".{folder.name}-") as work:
            entries = [
                _copy_member(work, member, files[member["name"]], probes.get(member["name"])) for member in members
            ]
            details = {
                "schema": SCHEMA,
                IDENTITY: IDENTITY_VERSION,
                "name": name,
                "classes": list(classes),
                "decode_version": DECODE_VERSION,
                "fusion": FUSION,
                "members": entries,
                "calibration": None if temperature == 1 else {"temperature": temperature},
                "acceptance": None,
                "command": command,
                EXPORTED: _now().isoformat(timespec="milliseconds"),
            }
            bundle = _write_manifest(work, details)
            if (chosen := cascade(bundle)) is not None:
                bundle = _write_manifest(work, {**details, CASCADE: chosen.to_dict()})
            give_usual_mode(work)
            _swap(work, folder)
    except OSError as error:
        raise output_error(folder, error) from error
    return _moved(bundle, folder)


def check_destination(folder: Path) -> None:
    """Refuse a place with something that is not a bundle, before hours of work go into one.

    Raises:
        OutputError: It is a file, a link, or a folder with other things than one bundle in it.
    """
    try:
        if not folder.exists() and not folder.is_symlink():
            return
        if not folder.is_dir() or folder.is_symlink():
            raise OutputError(f"{folder} is not a folder", _ANOTHER_FOLDER)
        if foreign := foreign_file(folder):
            raise OutputError(
                f"{folder} holds {foreign}, which is not part of a bundle and would be lost",
                f"{_ANOTHER_FOLDER}, or move it away",
            )
    except OSError as error:
        raise output_error(folder, error) from error


def bundle_there(folder: Path) -> str | None:
    """Members and identity of the bundle that an export into a folder replaces; None where there is none.

    It need not be readable.
    """
    try:
        raw = (folder / MANIFEST).read_bytes()
    except OSError:
        return None
    try:
        details = parse_bundle(raw, folder / MANIFEST)
    except IntegrityError:
        return f"not readable any more, {hashlib.sha256(raw).hexdigest()[:12]}"
    names = " + ".join(member["name"] for member in details["members"])
    return f"{names}, {identity(raw, details)[:12]}"


def _copy_member(work: Path, member: Mapping[str, Any], model: Path, probe: Path | None) -> dict[str, Any]:
    folder = work / member["name"]
    folder.mkdir()
    entry = {**member, **_copy_file(model, folder / "model.onnx", work)}
    if probe is not None:
        entry["probe"] = {**member["probe"], **_copy_file(probe, folder / probe.name, work)}
    return entry


def _copy_file(source: Path, target: Path, work: Path) -> dict[str, Any]:
    shutil.copyfile(source, target)
    _sync(target)
    return {
        "file": target.relative_to(work).as_posix(),
        "sha256": sha256_of(target),
        "size_bytes": target.stat().st_size,
    }


def _now() -> dt.datetime:
    """The time of the export; that of reproducible builds, where it is set (reproducible-builds.org)."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    return dt.datetime.fromtimestamp(int(epoch), dt.UTC) if epoch.isdecimal() else dt.datetime.now(dt.UTC)


def _write_manifest(folder: Path, details: dict[str, Any]) -> Bundle:
    path = folder / MANIFEST
    path.write_text(manifest_text(with_checksum(details)), encoding="utf-8", newline="\n")
    _sync(path)
    return load_bundle(folder)


def _sync(path: Path) -> None:
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def _moved(bundle: Bundle, folder: Path) -> Bundle:
    """A verified bundle whose folder was renamed."""

    def moved_path(path: Path) -> Path:
        return folder / path.relative_to(bundle.folder)

    members = [
        replace(
            member,
            path=moved_path(member.path),
            probe=None if member.probe is None else moved_path(member.probe),
        )
        for member in bundle.members
    ]
    return replace(bundle, folder=folder, members=tuple(members))


def _swap(work: Path, folder: Path) -> None:
    """Move the new folder into place. An old one is moved aside first: no system replaces a full folder."""
    if not folder.exists():
        work.rename(folder)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
    old = aside / "bundle"
    folder.rename(old)
    try:
        work.rename(folder)
    except BaseException:
        # If this fails as well, the old bundle stays in `aside`: nothing is deleted before the new one is in place.
        old.rename(folder)
        aside.rmdir()
        raise
    shutil.rmtree(aside, ignore_errors=True)
