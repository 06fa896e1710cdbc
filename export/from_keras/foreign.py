"""Files that are not Keras model files: what each one is, and how to make a model file of it."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

from braintumor.errors import ModelError

__all__ = ["HEAD_BYTES", "foreign_archive", "foreign_file", "foreign_folder", "foreign_hdf5", "weights_alone"]

HEAD_BYTES: Final = 512
"""Bytes of a file that `foreign_file` reads."""

_GIVE: Final = "give a file saved with model.save('x.keras')"
_REBUILD: Final = "export the Keras model that it was made from"
_FROM_TORCH: Final = (
    "build the network in Keras, copy the weights with set_weights, and save it with model.save('x.keras')"
)

# (offset, bytes there, what it is, how to get a model file)
_KINDS: Final = (
    (0, b"version https://git-lfs.github.com/spec/", "a Git LFS pointer, not the file", "fetch it: git lfs pull"),
    (4, b"TFL3", "a TensorFlow Lite model", _REBUILD),
    (0, b"\x08\x01\x12", "the saved_model.pb of a SavedModel", "name its folder, to read how to convert it"),
    (0, b"\x08", "perhaps an ONNX model", _REBUILD),
    (0, b"\x80", "a Python pickle, as PyTorch writes it, which is never opened", "save the Keras model itself"),
    (8, b'{"', "a safetensors file, which holds weights alone", _REBUILD),
    (0, b"\x1f\x8b", "gzip-compressed", "unpack it and give the model file inside"),
    (0, b"{", "JSON, which describes a network and holds no weights", "save both with model.save('x.keras')"),
    (0, b"<", "a web page or XML", "download the model file itself"),
)  # fmt: skip

_KERAS_VERSION: Final = re.compile(rb'"keras_version": ?"(\d[\w.+-]{0,30})"')
_MAX_METADATA_BYTES: Final = 64 << 20


def foreign_file(path: Path, head: bytes) -> ModelError:
    """The refusal of a file that is neither a zip archive nor HDF5.

    Args:
        path: The file.
        head: Its first `HEAD_BYTES` bytes.
    """
    if not head:
        return ModelError(f"{path} is empty", "save or copy it again")
    for offset, magic, kind, remedy in _KINDS:
        if head.startswith(magic, offset):
            return ModelError(f"{path} is not a .keras file but {kind}", remedy)
    return ModelError(f"{path} is not a .keras file (neither a zip archive nor HDF5)", _GIVE)


def foreign_archive(path: Path, names: Collection[str], missing: Collection[str]) -> ModelError:
    """The refusal of a zip archive that lacks what a `.keras` file has.

    Args:
        path: The file.
        names: Of its entries.
        missing: Names of the entries that it lacks.
    """
    if any(name.endswith("data.pkl") for name in names):
        return ModelError(f"{path} is not a .keras file but a PyTorch model, which is never opened", _FROM_TORCH)
    inside = [name for name in names if name.endswith((".keras", ".h5", "saved_model.pb", "/config.json"))]
    return ModelError(
        f"{path} is a zip archive without {', '.join(sorted(missing))}, so not a .keras file",
        f"it holds {min(inside)[:100]!r}: unpack it and give that" if inside else "",
    )


def foreign_folder(path: Path) -> ModelError:
    """The refusal of a folder."""
    if (path / "config.json").is_file() and (path / "model.weights.h5").is_file():
        return ModelError(f"{path} is an unpacked .keras file", f"pack it again: cd {path} && zip ../model.keras *")
    if not (path / "saved_model.pb").is_file():
        return ModelError(f"{path} is a folder", _GIVE)
    metadata = path / "keras_metadata.pb"
    if not metadata.is_file():
        return ModelError(f"{path} is a SavedModel without Keras's layers", _REBUILD)
    with metadata.open("rb") as stream:
        version = _KERAS_VERSION.search(stream.read(_MAX_METADATA_BYTES))
    saved_by = f"Keras {version[1].decode()}" if version else "Keras 2"
    return ModelError(
        f"{path} is a SavedModel folder of {saved_by}",
        "make a file of it: pip install tf-keras, then python -c "
        f"\"import tf_keras; tf_keras.models.load_model('{path}', compile=False).save('{path.name}.h5')\"",
    )


def foreign_hdf5(path: Path) -> ModelError:
    """The refusal of an HDF5 file that holds neither a network nor weights of Keras."""
    return ModelError(f"{path} is an HDF5 file without a Keras model", _GIVE)


def weights_alone(path: Path, saved_by: str | None) -> ModelError:
    """The refusal of an HDF5 file of weights without a network.

    Args:
        path: The file.
        saved_by: Version of the Keras that saved it, where it tells.
    """
    by = f" (Keras {saved_by})" if saved_by else ""
    return ModelError(
        f"{path} holds weights alone{by}, not the network that they belong to",
        f"build that with the code that it was trained by, then: model.load_weights('{path}'); "
        "model.save('model.keras')",
    )
