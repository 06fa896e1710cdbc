"""The schema of `bundle.json`: required fields, their types, and allowed paths."""

import json
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from braintumor.errors import IntegrityError
from braintumor.models.vote_calibration import TEMPERATURES
from braintumor.runtime.bundle.acceptance import IDENTITY, IDENTITY_VERSION
from braintumor.runtime.image.decode import DECODE_VERSION, RESIZES
from braintumor.runtime.image.head import CROPS

__all__ = ["FUSION", "PRECISIONS", "SCHEMA", "export_command", "parse_bundle"]

SCHEMA: Final = "braintumor.bundle/1"
FUSION: Final = "soft-vote"
PRECISIONS: Final = ("fp32", "fp16", "bf16", "int8")

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_SIDE_PX: Final = 4096
_MAX_CLASSES: Final = 1000

# Field → its JSON type. Fields beyond these are carried along unread.
_BUNDLE_FIELDS: Final[Mapping[str, type]] = {
    "name": str,
    "classes": list,
    "decode_version": str,
    "fusion": str,
    "members": list,
    "command": str,
}
_MEMBER_FIELDS: Final[Mapping[str, type]] = {
    "name": str,
    "weight": float,
    "height": int,
    "width": int,
    "resize": str,
    "precision": str,
    "file": str,
    "sha256": str,
    "size_bytes": int,
    "source": dict,
    "opset": int,
    "tools": dict,
    "parity": dict,
}
# A member may have a probe; older bundles have none.
_PROBE_FIELDS: Final[Mapping[str, type]] = {
    "file": str,
    "sha256": str,
    "size_bytes": int,
    "probabilities": list,
}
_MAX_PROBE_IMAGES: Final = 64


def export_command(folder: Path) -> str:
    """The command that makes a bundle in a folder."""
    return f"bt-export --bundle {shlex.quote(str(folder))}"


def parse_bundle(raw: bytes, manifest: Path) -> dict[str, Any]:
    """Parse and check the bytes of a `bundle.json`.

    Args:
        raw: The file's bytes.
        manifest: Its path, for messages.

    Raises:
        IntegrityError: Not JSON, an unknown schema version, or a field that is missing or wrong.
    """
    where, again = str(manifest), export_command(manifest.parent)
    try:
        details = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{manifest} is not JSON ({error})", f"export it again with: {again}") from error
    schema = details.get("schema") if isinstance(details, dict) else None
    if schema != SCHEMA:
        raise IntegrityError(
            f"{where} is of schema {schema!r}; this version reads {SCHEMA!r}",
            f"export it again with this version: {again}, or install the version that made it",
        )
    _check_fields(details, _BUNDLE_FIELDS, where)
    _check_bundle(details, where)
    for index, member in enumerate(details["members"]):
        at = f"{where}, member {index + 1}"
        _check_fields(member, _MEMBER_FIELDS, at)
        _check_member(member, len(details["classes"]), at)
    _check_distinct([member["name"] for member in details["members"]], "name", where)
    _check_distinct([member["file"] for member in details["members"]], "file", where)
    probes = [member["probe"]["file"] for member in details["members"] if member.get("probe") is not None]
    _check_distinct([*probes, *(member["file"] for member in details["members"])], "file", where)
    assert isinstance(details, dict)  # noqa: S101 - narrows the type: checked above
    return details


def _check_fields(value: Any, fields: Mapping[str, type], where: str) -> None:
    if not isinstance(value, dict):
        raise IntegrityError(f"{where} is {type(value).__name__}, not an object")
    for name, kind in fields.items():
        if name not in value:
            raise IntegrityError(f"{where} has no {name!r}")
        field = value[name]
        number = kind is float and isinstance(field, int | float)
        if isinstance(field, bool) or not (number or isinstance(field, kind)):
            raise IntegrityError(f"{where}: {name!r} is {type(field).__name__}, not {kind.__name__}")


def _check_bundle(details: Mapping[str, Any], where: str) -> None:
    classes = details["classes"]
    distinct = all(isinstance(name, str) for name in classes) and len(set(classes)) == len(classes)
    if not distinct or not 2 <= len(classes) <= _MAX_CLASSES:  # noqa: PLR2004 - fewer need no classifier
        raise IntegrityError(f"{where}: 'classes' must be 2 to {_MAX_CLASSES} different names, got {classes!r}")
    for name in (details["name"], *classes):
        _check_name(name, where)
    if details["decode_version"] != DECODE_VERSION:
        raise IntegrityError(
            f"{where} was made for image decoding {details['decode_version']!r}; this version decodes by "
            f"{DECODE_VERSION!r}, which may give other pixels",
            "export the bundle again",
        )
    if details.get(IDENTITY, IDENTITY_VERSION) != IDENTITY_VERSION:
        raise IntegrityError(
            f"{where}: identity rule {details[IDENTITY]!r} is not known; this version knows {IDENTITY_VERSION}",
            "install the version that made the bundle, or export it again",
        )
    if details["fusion"] != FUSION:
        raise IntegrityError(f"{where}: fusion {details['fusion']!r} is not known; allowed is {FUSION!r}")
    calibration = details.get("calibration") or {}
    if not isinstance(calibration, dict):
        raise IntegrityError(f"{where}: 'calibration' is {type(calibration).__name__}, not an object")
    temperature = calibration.get("temperature", 1.0)
    low, high = TEMPERATURES
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not low <= temperature <= high:
        raise IntegrityError(f"{where}: temperature {temperature!r} is not a number from {low} to {high}")
    if not details["members"]:
        raise IntegrityError(f"{where} lists no member")


def _check_member(member: Mapping[str, Any], classes: int, where: str) -> None:
    _check_name(member["name"], where)
    # NaN compares false, too; JSON has whole numbers that no float holds.
    if not 0 < member["weight"] <= sys.float_info.max:
        raise IntegrityError(f"{where}: weight {member['weight']} is not a finite number greater than 0")
    for side in ("height", "width"):
        if not 1 <= member[side] <= _MAX_SIDE_PX:
            raise IntegrityError(f"{where}: {side} {member[side]} is not between 1 and {_MAX_SIDE_PX} pixels")
    if member["resize"] not in RESIZES:
        raise IntegrityError(f"{where}: resize {member['resize']!r} is not one of {', '.join(RESIZES)}")
    if member.get("crop", "none") not in CROPS:
        raise IntegrityError(f"{where}: crop {member['crop']!r} is not one of {', '.join(CROPS)}")
    if member["precision"] not in PRECISIONS:
        raise IntegrityError(
            f"{where}: precision {member['precision']!r} is not one of {', '.join(PRECISIONS)}",
            "install a newer version, which may know it",
        )
    _check_file_entry(member, where)
    if member.get("probe") is not None:
        _check_fields(member["probe"], _PROBE_FIELDS, f"{where}, probe")
        _check_probe(member["probe"], member["height"] * member["width"], classes, f"{where}, probe")


def _check_file_entry(entry: Mapping[str, Any], where: str) -> None:
    if not _SHA256.fullmatch(entry["sha256"]):
        raise IntegrityError(f"{where}: sha256 {entry['sha256']!r} is not 64 hexadecimal digits")
    _check_path(entry["file"], where)


def _check_probe(probe: Mapping[str, Any], image_bytes: int, classes: int, where: str) -> None:
    _check_file_entry(probe, where)
    rows = probe["probabilities"]
    valid = all(
        isinstance(row, list)
        and len(row) == classes
        and all(isinstance(value, int | float) and 0 <= value <= 1 for value in row)
        for row in rows
    )
    if not (valid and 1 <= len(rows) <= _MAX_PROBE_IMAGES):
        raise IntegrityError(
            f"{where}: 'probabilities' are not 1 to {_MAX_PROBE_IMAGES} rows of {classes} values 0..1"
        )
    if probe["size_bytes"] != len(rows) * image_bytes:
        raise IntegrityError(
            f"{where}: {probe['size_bytes']} bytes are not {len(rows)} images of {image_bytes} pixels"
        )


def _check_name(name: str, where: str) -> None:
    # Names are printed: line ends and escape sequences would command the terminal.
    if not name.strip() or not name.isprintable():
        raise IntegrityError(f"{where}: the name {name!r} is empty or not printable")


def _check_path(name: str, where: str) -> None:
    path = PurePosixPath(name)
    # A backslash or a colon means something on Windows; neither is needed in a name that we write.
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or not name.isprintable():
        raise IntegrityError(f"{where}: the path {name!r} leaves the bundle; allowed are relative paths without '..'")
    if path.as_posix() != name:
        raise IntegrityError(f"{where}: the path {name!r} is not in its plain form {path.as_posix()!r}")


def _check_distinct(values: list[str], field: str, where: str) -> None:
    if repeated := sorted({value for value in values if values.count(value) > 1}):
        raise IntegrityError(f"{where}: {field} {', '.join(repeated)} is listed twice among the members")
