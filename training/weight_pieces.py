"""Weights as files of limited size, for machines that give back only small files; and back to `.keras`."""

import hashlib
import json
from pathlib import Path

import numpy as np

from braintumor.errors import IntegrityError
from braintumor.training.fit.learner import Arrays

__all__ = ["PIECE_BYTES", "read_pieces", "write_pieces"]

PIECE_BYTES = 15_000_000
_INDEX = "weights.json"


def write_pieces(folder: Path, weights: Arrays, piece_bytes: int = PIECE_BYTES) -> list[Path]:
    """Write weights in order: kernels as float16, smaller arrays (biases, BatchNorm) as float32.

    A BatchNorm variance can be beyond float16's 65,504, a kernel cannot.

    Returns:
        The index and the pieces, none larger than `piece_bytes`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays = [value.astype("<f2" if value.ndim > 1 else "<f4") for value in weights]
    data = b"".join(value.tobytes() for value in arrays)
    pieces = [data[start : start + piece_bytes] for start in range(0, len(data), piece_bytes)]
    paths = [folder / f"weights-{number:02}.bin" for number in range(len(pieces))]
    for path, piece in zip(paths, pieces, strict=True):
        path.write_bytes(piece)
    index = {
        "schema": "braintumor.weight-pieces/1",
        "arrays": [[list(value.shape), value.dtype.str] for value in arrays],
        "pieces": [path.name for path in paths],
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    (folder / _INDEX).write_text(json.dumps(index), encoding="utf-8")
    return [folder / _INDEX, *paths]


def read_pieces(folder: Path) -> Arrays:
    """Read the weights as float32.

    Raises:
        IntegrityError: A piece is missing or changed.
    """
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        data = b"".join((folder / Path(name).name).read_bytes() for name in index["pieces"])
        if hashlib.sha256(data).hexdigest() != index["sha256"]:
            raise IntegrityError(f"the weight pieces in {folder} do not match their index", "fetch them again")
        arrays, start = [], 0
        for shape, dtype in index["arrays"]:
            count = int(np.prod(shape, dtype=np.int64))
            values = np.frombuffer(data, dtype, count, start).reshape(shape)
            start += values.nbytes
            arrays.append(values.astype(np.float32))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{folder} holds no complete weight pieces ({error})", "fetch them again") from error
    return arrays
