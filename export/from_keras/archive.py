"""Looking into a `.keras` file before Keras does: what it is, and whether it may be loaded.

A `.keras` file is a zip archive of `config.json`, `metadata.json` and `model.weights.h5`
(https://keras.io/guides/serialization_and_saving/). Keras builds whatever objects the config names, so what
it names is checked first, and the archive is not allowed to unpack to more than a model can need.
"""

import json
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from braintumor.errors import ModelError, UsageError
from braintumor.models.build import is_own
from braintumor.models.labels import CLASSES
from braintumor.runtime.files import sha256_of

__all__ = ["KerasArchive", "open_archive"]

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_MAX_ENTRIES: Final = 64
_MAX_CONFIG_BYTES: Final = 64 << 20
_MAX_UNPACKED_BYTES: Final = 4 << 30

# What zipfile and json raise on bytes that are not what they should be; a RuntimeError is an encrypted entry,
# a NotImplementedError an unknown compression.
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

# First bytes of files that people hand over instead.
_LOOKS_LIKE: Final = (
    (
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file: the old .h5 format. Load it in Keras and save it with model.save('x.keras')",
    ),
    (b"TFL3", "a TensorFlow Lite model. Export the Keras model that it was made from"),
    (b"\x80", "a Python pickle, which is never opened. Save the Keras model with model.save('x.keras')"),
    (b"\x08", "perhaps an ONNX model. Export the Keras model that it was made from"),
)


@dataclass(frozen=True, slots=True)
class KerasArchive:
    """A `.keras` file that may be loaded.

    Attributes:
        path: Where it lies.
        sha256: Of the file.
        keras_version: That saved it.
        unpacked_bytes: Of its contents.
        classes: The order of its outputs, where `braintumor.models.build` built it; None where nothing tells.
    """

    path: Path
    sha256: str
    keras_version: str
    unpacked_bytes: int
    classes: tuple[str, ...] | None = None


def open_archive(path: Path) -> KerasArchive:
    """Check a `.keras` file without running anything in it.

    Raises:
        UsageError: It is not there.
        ModelError: It is something else, it is damaged, it unpacks to too much, or it names code (Lambda
            layers, classes that are not Keras's own).
    """
    try:
        if path.is_dir():
            raise ModelError(f"{path} is a folder (a SavedModel?); give a file saved with model.save('x.keras')")
        if path.exists() and not path.is_file():
            raise ModelError(f"{path} is a device or a pipe; give a file saved with model.save('x.keras')")
        _check_magic(path)
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_entries(path, entries)
            config = json.loads(archive.read(_CONFIG))
            metadata = json.loads(archive.read(_METADATA))
        _check_config(path, config)
        version = str(metadata.get("keras_version", "unknown"))
        unpacked = sum(entry.file_size for entry in entries)
        return KerasArchive(path, sha256_of(path), version, unpacked, CLASSES if is_own(config) else None)
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist; give a file saved with model.save('x.keras')") from error
    except (OSError, *_DAMAGE) as error:
        # bz2 calls bad data an OSError, too, but one that no system call gave.
        if isinstance(error, OSError) and error.errno is not None:
            raise ModelError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
        raise ModelError(f"{path} is a damaged .keras file ({error}); save or copy it again") from error


def _check_magic(path: Path) -> None:
    with path.open("rb") as stream:
        head = stream.read(8)
    if head.startswith(b"PK\x03\x04"):
        return
    if not head:
        raise ModelError(f"{path} is empty; save or copy it again")
    for magic, what in _LOOKS_LIKE:
        if head.startswith(magic):
            raise ModelError(f"{path} is not a .keras file but {what}")
    raise ModelError(f"{path} is not a .keras file (no zip archive); give a file saved with model.save('x.keras')")


def _check_entries(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    names = {entry.filename for entry in entries}
    if missing := sorted({_CONFIG, _METADATA, _WEIGHTS} - names):
        raise ModelError(f"{path} is a zip archive without {', '.join(missing)}, so no .keras file of Keras 3")
    if len(entries) > _MAX_ENTRIES:
        raise ModelError(
            f"{path} holds {len(entries)} entries; a .keras file has a handful, allowed are {_MAX_ENTRIES}"
        )
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > _MAX_UNPACKED_BYTES:
        raise ModelError(f"{path} unpacks to {unpacked:,} bytes; allowed are {_MAX_UNPACKED_BYTES:,}")
    for entry in entries:
        if entry.filename in {_CONFIG, _METADATA} and entry.file_size > _MAX_CONFIG_BYTES:
            raise ModelError(
                f"{path}: {entry.filename} has {entry.file_size:,} bytes; allowed are {_MAX_CONFIG_BYTES:,}"
            )


def _check_config(path: Path, config: Any) -> None:
    # How the model was trained is not loaded: a loss or a schedule of the user's own does no harm.
    network = {name: value for name, value in config.items() if name != "compile_config"}
    for item in _objects(network):
        class_name = str(item["class_name"])
        if class_name in {"Lambda", "__lambda__"}:
            raise ModelError(
                f"{path} has a Lambda layer, which is Python code inside the file and is never run; rebuild the "
                "model with built-in layers (Rescaling for scaling, Concatenate for grey to RGB) and save it again"
            )
        if item.get("registered_name") not in {None, class_name} or not _is_keras(item):
            raise ModelError(
                f"{path} needs the class {class_name} of {item.get('module') or item.get('registered_name')}, which "
                "is not a part of Keras; rebuild the model with built-in layers and save it again"
            )


def _is_keras(item: dict[str, Any]) -> bool:
    """Whether a serialised object is Keras's own; plain functions are of builtins, plain values of no module."""
    module = item.get("module", "builtins")
    # An explicit None stands at a class that was not registered.
    return module == "builtins" or str(module).split(".")[0] == "keras"


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Every serialised object in the config, at any depth."""
    stack = [config]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if "class_name" in node:
                yield node
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
