"""Model files: what each one is, and whether it may be loaded; checked before anything else reads it.

A `.keras` file is a zip archive of `config.json`, `metadata.json` and `model.weights.h5`
(https://keras.io/guides/serialization_and_saving/); the older `.h5` is one HDF5 file that holds the same
as attributes and groups. Keras builds whatever objects the config names, so what it names is checked first,
and a file is not allowed to unpack to more than a model can need.
"""

import lzma
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from braintumor.errors import ModelError, UsageError
from braintumor.export.from_keras.config_check import MAX_CONFIG_BYTES, check_config, parse_json
from braintumor.export.from_keras.foreign import (
    HEAD_BYTES,
    foreign_archive,
    foreign_file,
    foreign_folder,
    foreign_hdf5,
    weights_alone,
)
from braintumor.export.from_keras.hdf5 import HDF5_MAGIC, open_hdf5
from braintumor.export.from_keras.hdf5_guard import require_readable
from braintumor.files import sha256_of
from braintumor.models.build import is_own
from braintumor.models.input_settings import SETTINGS_FILE, InputSettings, read_settings
from braintumor.models.labels import CLASSES
from braintumor.runtime.image.head import Crop

__all__ = ["KerasArchive", "open_archive", "read_config", "read_entry", "unpacks_too_far"]

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_GIVE: Final = "give a file saved with model.save('x.keras')"
_ZIP_MAGIC: Final = b"PK\x03\x04"
_HDF5_SUFFIXES: Final = (".h5", ".hdf5")
_MAX_ENTRIES: Final = 64
_MAX_UNPACKED_BYTES: Final = 4 << 30
# Trained weights hardly compress, those of a layer that nothing has changed do.
_SMALL_BYTES: Final = 64 << 20
_MAX_RATIO: Final = 100

# Errors of zipfile on damaged bytes; a RuntimeError is an encrypted entry, a
# NotImplementedError an unknown compression.
_DAMAGE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    KeyError,
    ValueError,
    AttributeError,
    RuntimeError,
)


@dataclass(frozen=True, slots=True)
class KerasArchive:
    """A model file that may be loaded.

    Attributes:
        path: Where it lies.
        sha256: Of the file.
        keras_version: Of the Keras that saved it.
        unpacked_bytes: Of its contents.
        classes: The order of its outputs, where it says so or `braintumor.models.build` built it; None where that is
            not known.
        layout: "zip" for `.keras`, "hdf5" for `.h5`.
        crop: Cut off before an image is resized for it.
    """

    path: Path
    sha256: str
    keras_version: str
    unpacked_bytes: int
    classes: tuple[str, ...] | None = None
    layout: Literal["zip", "hdf5"] = "zip"
    crop: Crop = "none"


def open_archive(path: Path) -> KerasArchive:
    """Check a `.keras` or `.h5` file without running anything in it.

    Raises:
        UsageError: It is not there.
        ModelError: It is something else, it is damaged, it unpacks to too much, or it names code (Lambda
            layers, classes that are not Keras's own).
    """
    try:
        if path.is_dir():
            raise foreign_folder(path)
        if path.exists() and not path.is_file():
            raise ModelError(f"{path} is a device or a pipe", _GIVE)
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
        if head.startswith(HDF5_MAGIC):
            require_readable(path, sha256_of(path))
            config, version = _read_hdf5(path)
            settings = InputSettings()
            layout: Literal["zip", "hdf5"] = "hdf5"
            size = path.stat().st_size
        elif head.startswith(_ZIP_MAGIC):
            config, version, size, settings = _read_zip(path)
            layout = "zip"
        else:
            raise foreign_file(path, head)
        check_config(path, config)
        classes = settings.classes or (CLASSES if is_own(config) else None)
        return KerasArchive(path, sha256_of(path), version, size, classes, layout, settings.crop)
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist", _GIVE) from error
    except (OSError, *_DAMAGE) as error:
        # bz2 calls bad data an OSError, too, but one that no system call gave.
        if isinstance(error, OSError) and error.errno is not None:
            raise ModelError(f"{path} cannot be read ({error.strerror})", "check its permissions") from error
        raise ModelError(f"{path} is a damaged .keras file ({error})", "save or copy it again") from error


def read_config(archive: KerasArchive) -> dict[str, Any]:
    """The description of the network in a file that `open_archive` has checked."""
    if archive.layout == "hdf5":
        return _read_hdf5(archive.path)[0]
    return parse_json(read_entry(archive.path, _CONFIG), archive.path, _CONFIG)


def read_entry(path: Path, name: str) -> bytes:
    """One entry of a `.keras` file that `open_archive` has checked.

    Raises:
        ModelError: It is damaged.
    """
    try:
        with zipfile.ZipFile(path) as file:
            return file.read(name)
    except (OSError, *_DAMAGE) as error:
        raise ModelError(f"{path} is a damaged .keras file ({name}: {error})", "save or copy it again") from error


def unpacks_too_far(unpacked_bytes: int, packed_bytes: int) -> bool:
    """Whether so much out of so little cannot be a model, but is meant to fill the memory."""
    return unpacked_bytes > _SMALL_BYTES + _MAX_RATIO * packed_bytes


def _read_hdf5(path: Path) -> tuple[dict[str, Any], str]:
    """The description of the network in an `.h5` file, and the version of Keras that saved it."""
    with open_hdf5(path, path) as reader:
        version = reader.text("", "keras_version") or reader.text("model_weights", "keras_version")
        text = reader.text("", "model_config")
        holds_weights = reader.names("", "layer_names") is not None or reader.group("layers") is not None
    if text is None:
        raise weights_alone(path, version) if holds_weights else foreign_hdf5(path)
    if path.suffix.lower() not in _HDF5_SUFFIXES:
        raise ModelError(f"{path} holds a model in the .h5 format under another name", f"rename it to {path.stem}.h5")
    return parse_json(text, path, "model_config"), version or "2, an early one"


def _read_zip(path: Path) -> tuple[dict[str, Any], str, int, InputSettings]:
    """As `_read_hdf5` for a `.keras` file, with the unpacked size and the settings of the input."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        _check_entries(path, entries)
        config = parse_json(archive.read(_CONFIG), path, _CONFIG)
        metadata = parse_json(archive.read(_METADATA), path, _METADATA)
        settings = read_settings(archive)
    size = sum(entry.file_size for entry in entries)
    return config, str(metadata.get("keras_version", "unknown")), size, settings


def _check_entries(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > _MAX_ENTRIES:
        raise ModelError(
            f"{path} holds {len(entries)} entries; a .keras file has a handful, must be <= {_MAX_ENTRIES}"
        )
    names = [entry.filename for entry in entries]
    if missing := {_CONFIG, _METADATA, _WEIGHTS} - {*names}:
        raise foreign_archive(path, names, missing)
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ModelError(f"{path} holds {repeated[0]} more than once", "save or copy it again")
    if outside := [name for name in names if _leads_outside(name)]:
        raise ModelError(
            f"{path} holds an entry that would lie outside of it, {outside[0][:100]!r}", "save the model again"
        )
    for entry in entries:
        if entry.filename in {_CONFIG, _METADATA, SETTINGS_FILE} and entry.file_size > MAX_CONFIG_BYTES:
            raise ModelError(
                f"{path}: {entry.filename} has {entry.file_size:,} bytes; must be <= {MAX_CONFIG_BYTES:,}"
            )
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > _MAX_UNPACKED_BYTES:
        raise ModelError(f"{path} unpacks to {unpacked:,} bytes; must be <= {_MAX_UNPACKED_BYTES:,}")
    packed = path.stat().st_size
    if unpacks_too_far(unpacked, packed):
        raise ModelError(
            f"{path} has {packed:,} bytes and unpacks to {unpacked:,}, which no model does", "save it again"
        )


def _leads_outside(name: str) -> bool:
    return "\\" in name or ":" in name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts
