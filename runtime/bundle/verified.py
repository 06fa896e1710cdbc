"""Reading a member's files so that what is used is what was verified.

`load_bundle` has hashed every file, but a file that is opened again later may be another one by then: a bundle may
lie on a shared drive. So no library opens a path of the bundle. A copy is hashed while it is written into a private
folder, and that copy is loaded: 0.2 s for 217 MB. Where there is no such folder the bytes are hashed and loaded in
memory, which then holds the file once more (210 MB more at the peak, for the same file).
"""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from braintumor.errors import IntegrityError
from braintumor.runtime.bundle.graph_check import GraphError, check_graph

__all__ = ["check_model", "copy_verified", "read_verified"]

_CHUNK_BYTES = 1 << 20
_REMEDY = "copy the bundle again from where it was made"


def copy_verified(path: Path, sha256: str, target: Path) -> None:
    """Copy a member's ONNX file, and check the copy's hash and graph.

    Args:
        path: In the bundle.
        sha256: What the bundle says of it, 64 hexadecimal digits.
        target: In a folder of the user's own; written anew.

    Raises:
        IntegrityError: The file cannot be read, is not the one that the bundle lists, or holds a graph that a bundle
            may not hold.
        OSError: The copy cannot be written.
    """
    digest = hashlib.sha256()
    with target.open("wb") as copy:
        for chunk in _chunks(path):
            digest.update(chunk)
            copy.write(chunk)
    _require_hash(path, digest.hexdigest(), sha256)
    with target.open("rb", buffering=0) as stream:
        check_model(stream, path, _REMEDY)


def read_verified(path: Path, sha256: str, *, model: bool = True) -> bytes:
    """The bytes of a file of a bundle, after their hash was checked; of an ONNX file also its graph.

    Args:
        path: In the bundle.
        sha256: What the bundle says of it, 64 hexadecimal digits.
        model: It is an ONNX file.

    Raises:
        IntegrityError: As `copy_verified`.
    """
    raw = b"".join(_chunks(path))
    _require_hash(path, hashlib.sha256(raw).hexdigest(), sha256)
    if model:
        check_model(io.BytesIO(raw), path, _REMEDY)
    return raw


def check_model(stream: BinaryIO, path: Path, remedy: str) -> None:
    """Refuse an ONNX file that is not a plain graph; see `braintumor.runtime.bundle.graph_check`.

    Args:
        stream: Its bytes, open for reading.
        path: Its name, for messages.
        remedy: What to do about it.

    Raises:
        IntegrityError: It is damaged, or holds what a bundle may not hold.
    """
    try:
        check_graph(stream)
    except GraphError as error:
        raise IntegrityError(f"{path} {error}", remedy) from error
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path} is not a readable ONNX file ({error})", remedy) from error


def _chunks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb", buffering=0) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                yield chunk
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read ({error.strerror or error})", _REMEDY) from error


def _require_hash(path: Path, actual: str, expected: str) -> None:
    if actual != expected:
        raise IntegrityError(
            f"{path} was changed while it was loaded: it has SHA-256 {actual[:16]}…, not {expected[:16]}… as before",
            _REMEDY,
        )
