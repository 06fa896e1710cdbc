"""The arrays of `model.weights.h5`, read from the zip member and checked against what a layer needs."""

import io
import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import ModelError, UnsupportedLayerError

__all__ = ["WeightFile", "open_weights"]

_MEMBER: Final = "model.weights.h5"
_MAX_BYTES: Final = 4 << 30
_FILTERS: Final = frozenset({"gzip", "shuffle", "fletcher32", "lzf"})
_HALF: Final = frozenset({"float16", "bfloat16"})


@contextmanager
def open_weights(path: Path) -> "Iterator[WeightFile]":
    """Open the weights inside a `.keras` file.

    Raises:
        ModelError: They are not an HDF5 file.
    """
    import h5py

    with zipfile.ZipFile(path) as archive:
        content = io.BytesIO(archive.read(_MEMBER))
    try:
        file = h5py.File(content, "r")
    except OSError as error:
        raise ModelError(f"{path}: its weights are damaged ({error}); save or copy it again") from error
    with file:
        yield WeightFile(path, file)


class WeightFile:
    """Weights by layer.

    Every array is read once, however many layers ask for it.

    Attributes:
        path: The `.keras` file.
        parameters: Number of weights read so far.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self.parameters = 0
        self._half: set[str] = set()
        self._broken: list[str] = []
        self.path = path
        self._groups: dict[str, Any] = {"": file}
        self._read: dict[str, NDArray[np.float32]] = {}

    def check(self) -> None:
        """Refuse what was read, if it cannot be exported.

        Raises:
            ModelError: Weights in half precision, or NaN or infinite ones.
        """
        if self._half:
            raise ModelError(
                f"{self.path} keeps its weights in {', '.join(sorted(self._half))}; needed are weights in float32, "
                "as the policies float32, mixed_float16 and mixed_bfloat16 keep them: build it under one of them, "
                "set_weights, and save it again"
            )
        if self._broken:
            raise ModelError(
                f"{self.path} holds NaN or infinite weights ({self._broken[0]}, {len(self._broken)} of "
                f"{len(self._read)} in all): the model itself answers NaN, its training diverged; export an earlier "
                "checkpoint, or train it again"
            )

    def arrays(
        self, group: str, layer: str, shapes: Mapping[str, tuple[int, ...]], *, own: bool = True
    ) -> list[NDArray[np.float32]]:
        """The variables of one layer, in Keras's order.

        Args:
            group: Where they are, as in `layers/conv2d_1`.
            layer: The layer's path, for messages.
            shapes: Name and shape of each variable that the layer needs.
            own: They are the layer's own, not those of a layer inside of it.

        Returns:
            float32 arrays of exactly these shapes.

        Raises:
            ModelError: Another number of variables, another shape, or something that is not plain data.
            UnsupportedLayerError: The group belongs to a layer of another name, or holds integers.
        """
        found = self._variables(group, layer, own=own)
        if set(found) != {str(index) for index in range(len(shapes))}:
            raise ModelError(
                f"{self.path}: layer {layer} needs {len(shapes)} weights ({', '.join(shapes)}), its weights file "
                f"has {len(found)}; config and weights do not fit each other: save the model again"
            )
        return [self._array(found[str(index)], layer, *item) for index, item in enumerate(shapes.items())]

    def _variables(self, group: str, layer: str, *, own: bool) -> Mapping[str, Any]:
        """The datasets of a layer's variables; empty where it has none."""
        variables = self._group(f"{group}/vars")
        if variables is None:
            return {}
        name = variables.attrs.get("name")
        if own and isinstance(name, str) and name != layer.rsplit("/", 1)[-1]:
            raise UnsupportedLayerError(layer, "", f"its weights are stored for another layer, {name}")
        return {name: self._member(variables, name) for name in variables}

    def _group(self, path: str) -> Any:
        """A group that lies in this file; None where there is none."""
        import h5py

        if path not in self._groups:
            above, _, name = path.rpartition("/")
            parent = self._group(above)
            found = None if parent is None or name not in parent else self._member(parent, name)
            if found is not None and not isinstance(found, h5py.Group):
                raise ModelError(f"{self.path}: {path} in its weights is not a group; save the model again")
            self._groups[path] = found
        return self._groups[path]

    def _member(self, group: Any, name: str) -> Any:
        """A group or dataset inside a group, never what a link in its place leads to."""
        import h5py

        if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise ModelError(
                f"{self.path}: {group.name}/{name} in its weights is a link to somewhere else, which is never "
                "followed; save the model again with model.save('x.keras')"
            )
        return group[name]

    def _array(self, dataset: Any, layer: str, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        import h5py

        where = f"{layer}/{name}"
        if not isinstance(dataset, h5py.Dataset) or dataset.shape != shape:
            found = tuple(dataset.shape or ()) if isinstance(dataset, h5py.Dataset) else "a group"
            raise ModelError(
                f"{self.path}: layer {layer} needs {name} of shape {shape}, its weights file has {found}; "
                "config and weights do not fit each other: save the model again"
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
                "never followed; save the model again with model.save('x.keras')"
            )
        size = 4 * (math.prod(dataset.shape) + self.parameters)
        if size > _MAX_BYTES:
            raise ModelError(f"{self.path}: its weights need {size:,} bytes at {where}; allowed are {_MAX_BYTES:,}")

    def _values(self, dataset: Any, where: str) -> NDArray[np.float32]:
        stored = str(dataset.attrs.get("dtype", dataset.dtype))
        if stored in _HALF:
            self._half.add(stored)
            return np.zeros(dataset.shape, np.float32)
        # A Normalization layer counts what it has seen in an integer.
        if dataset.dtype.kind != "f" and dataset.shape:
            raise UnsupportedLayerError(where.rsplit("/", 1)[0], "", f"its weights are {dataset.dtype}")
        try:
            values = np.ascontiguousarray(dataset[()], dtype=np.float32)
        except (OSError, ValueError) as error:
            raise ModelError(f"{self.path}: {where} is damaged ({error}); save or copy it again") from error
        if not np.isfinite(values).all():
            self._broken.append(where)
        return values
