"""The arrays of a model file's weights, read and checked against what a layer needs."""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import ModelError, UnsupportedLayerError
from braintumor.export.from_keras.archive import KerasArchive, read_entry, unpacks_too_far
from braintumor.export.from_keras.hdf5 import Hdf5Reader, damage_as_error, open_hdf5
from braintumor.export.from_keras.hdf5_guard import require_readable
from braintumor.export.from_keras.weight_places import WeightPlaces, places_by_class, places_by_name
from braintumor.models.catalog import shipped_weights

__all__ = ["WeightFile", "open_weights"]

_MEMBER: Final = "model.weights.h5"
_MAX_BYTES: Final = 4 << 30
_FILTERS: Final = frozenset({"gzip", "shuffle", "fletcher32", "lzf"})
_HALF: Final = frozenset({"float16", "bfloat16"})


@contextmanager
def open_weights(archive: KerasArchive, model: str) -> "Iterator[WeightFile]":
    """Open the weights inside a model file.

    Args:
        archive: The file.
        model: The model's own name.

    Raises:
        ModelError: They are not an HDF5 file.
    """
    path = archive.path
    if archive.layout == "hdf5":
        with open_hdf5(path, path) as reader:
            yield WeightFile(reader, places_by_name(reader, model), archive.unpacked_bytes)
        return
    if path not in shipped_weights():
        require_readable(path, archive.sha256, _MEMBER)
    content = read_entry(path, _MEMBER)
    with open_hdf5(path, io.BytesIO(content)) as reader:
        yield WeightFile(reader, places_by_class(reader), len(content))


class WeightFile:
    """Weights by layer.

    Every array is read once, however many layers share it.

    Attributes:
        path: The model file.
        parameters: Number of weights read so far.
    """

    def __init__(self, reader: Hdf5Reader, places: WeightPlaces, size_bytes: int) -> None:
        self.parameters = 0
        self._half: set[str] = set()
        self._broken: list[str] = []
        self.path = reader.path
        self._places = places
        self._size_bytes = size_bytes
        self._read: dict[str, NDArray[np.float32]] = {}

    def check(self) -> None:
        """Refuse weights that cannot be exported.

        Raises:
            ModelError: Weights in half precision, or NaN or infinite ones.
        """
        if self._half:
            raise ModelError(
                f"{self.path} keeps its weights in {', '.join(sorted(self._half))}; must be float32, "
                "as the policies float32, mixed_float16 and mixed_bfloat16 keep them",
                "build it under one of them, set_weights, and save it again",
            )
        if self._broken:
            raise ModelError(
                f"{self.path} holds NaN or infinite weights ({self._broken[0]}, {len(self._broken)} of "
                f"{len(self._read)} in all): the model itself answers NaN, its training diverged",
                "export an earlier checkpoint, or train it again",
            )

    def forget(self) -> None:
        """Drop all arrays: the graph has its own in ONNX's order, and both are as large as the model."""
        self._read.clear()

    def arrays(
        self, place: Sequence[str], layer: str, shapes: Mapping[str, tuple[int, ...]]
    ) -> list[NDArray[np.float32]]:
        """The variables of one layer, in Keras's order.

        Args:
            place: Where they are: `LayerCall.weights`.
            layer: The layer's path, for messages.
            shapes: Name and shape of each variable that the layer needs.

        Returns:
            float32 arrays of exactly these shapes.

        Raises:
            ModelError: Another number of variables, another shape, or something that is not plain data.
            UnsupportedLayerError: They belong to a layer of another name, or are integers.
        """
        with damage_as_error(self.path, f"what it holds of layer {layer}"):
            datasets = self._places(place, layer)
            if len(datasets) != len(shapes):
                raise ModelError(
                    f"{self.path}: layer {layer} needs {len(shapes)} weights ({', '.join(shapes)}), its weights file "
                    f"has {len(datasets)}: config and weights do not fit each other",
                    "save the model again",
                )
            return [
                self._array(dataset, layer, *item) for dataset, item in zip(datasets, shapes.items(), strict=True)
            ]

    def _array(self, dataset: Any, layer: str, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        import h5py

        where = f"{layer}/{name}"
        if not isinstance(dataset, h5py.Dataset) or dataset.shape != shape:
            stored = tuple(dataset.shape or ()) if isinstance(dataset, h5py.Dataset) else "a group"
            raise ModelError(
                f"{self.path}: layer {layer} needs {name} of shape {shape}, its weights file has {stored}: "
                "config and weights do not fit each other",
                "save the model again",
            )
        if dataset.name not in self._read:
            self._check_dataset(dataset, where)
            self._read[dataset.name] = self._values(dataset, where)
            self.parameters += dataset.size
        return self._read[dataset.name]

    def _check_dataset(self, dataset: Any, where: str) -> None:
        filters = {dataset.compression} if dataset.compression else set()
        plain = not dataset.is_virtual and dataset.external is None and filters <= _FILTERS
        if not plain:
            raise ModelError(
                f"{self.path}: {where} keeps its values outside of the file, or in an unknown compression, which is "
                "never followed",
                "save the model again with model.save('x.keras')",
            )
        size = 4 * (math.prod(dataset.shape) + self.parameters)
        if size > _MAX_BYTES:
            raise ModelError(f"{self.path}: its weights need {size:,} bytes at {where}; must be <= {_MAX_BYTES:,}")
        if unpacks_too_far(size, self._size_bytes):
            raise ModelError(
                f"{self.path}: its weights unpack to {size:,} bytes at {where} out of {self._size_bytes:,}, which no "
                "model does",
                "save it again",
            )

    def _values(self, dataset: Any, where: str) -> NDArray[np.float32]:
        stored = str(dataset.attrs.get("dtype", dataset.dtype))
        if stored in _HALF:
            self._half.add(stored)
            return np.zeros(dataset.shape, np.float32)
        # A Normalization layer counts what it has seen in an integer.
        if dataset.dtype.kind not in ("f" if dataset.shape else "fiu"):
            raise UnsupportedLayerError(where.rsplit("/", 1)[0], "", f"its weights are {dataset.dtype}")
        with damage_as_error(self.path, where):
            values = np.ascontiguousarray(dataset[()], dtype=np.float32)
        if not np.isfinite(values).all():
            self._broken.append(where)
        return values
