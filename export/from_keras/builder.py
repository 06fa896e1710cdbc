"""Building the ONNX graph: nodes, constants, and the order of axes."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.export.from_keras.tensor import Tensor

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["CHANNELS_LAST", "Builder"]

CHANNELS_LAST: Final = "channels_last"

_MAP_RANK: Final = 3
_TO_FIRST: Final = (0, 3, 1, 2)
_TO_LAST: Final = (0, 2, 3, 1)


class Builder:
    """Collects nodes and constants.

    Attributes:
        nodes: In an order in which they can be computed.
        constants: By name.
    """

    def __init__(self) -> None:
        import onnx_ir

        self.nodes: list[ir.Node] = []
        self.constants: dict[str, ir.Value] = {}
        self._ir = onnx_ir
        self._orders: dict[tuple[str, bool], ir.Value] = {}
        self._names: set[str] = set()
        self._numbers: Counter[str] = Counter()

    def node(self, op_type: str, inputs: "Sequence[ir.Value | None]", name: str, **attributes: Any) -> "ir.Value":
        """Append a node with one output.

        Args:
            op_type: Of ONNX's own domain.
            inputs: None for an optional one that is left out.
            name: Of the node and of its output; a number is added where it is taken.
            attributes: Of the node; those that are None are left out.
        """
        return self.node_outputs(1, op_type, inputs, name, **attributes)[0]

    def node_outputs(
        self, count: int, op_type: str, inputs: "Sequence[ir.Value | None]", name: str, **attributes: Any
    ) -> "list[ir.Value]":
        """Append a node with several outputs: `name`, `name:1`, …; otherwise as `node`."""
        unique = self._unique(name)
        present = [self._attribute(key, value) for key, value in attributes.items() if value is not None]
        values = [self._ir.Value(name=f"{unique}:{index}" if index else unique) for index in range(count)]
        self.nodes.append(self._ir.Node("", op_type, inputs, present, outputs=values, name=unique))
        return values

    def _attribute(self, name: str, value: Any) -> "ir.Attr":
        # onnx_ir.node infers the kind of each value, which takes a tenth of the whole time. A value that no attribute
        # can hold is an OverflowError here.
        if isinstance(value, int):
            return self._ir.AttrInt64(name, int(np.int64(value)))
        if isinstance(value, float):
            return self._ir.AttrFloat32(name, float(np.float32(value)))
        if isinstance(value, str):
            return self._ir.AttrString(name, value)
        return self._ir.AttrInt64s(name, np.array(value, np.int64).tolist())

    def constant(self, name: str, array: NDArray[Any]) -> "ir.Value":
        """A constant under this name; the same value for the same name and content."""
        if (known := self.constants.get(name)) is not None and np.array_equal(known.const_value.numpy(), array):  # type: ignore[union-attr]
            return known
        unique = self._unique(name)
        # Not ascontiguousarray, which makes a vector of a scalar.
        tensor = self._ir.Tensor(np.asarray(array, order="C"), name=unique)
        value = self._ir.Value(
            name=unique,
            shape=self._ir.Shape(array.shape),
            type=self._ir.TensorType(tensor.dtype),
            const_value=tensor,
        )
        self.constants[unique] = value
        return value

    def integers(self, name: str, values: Sequence[int]) -> "ir.Value":
        """An int64 constant [n], as shapes, axes and pads are given to ONNX."""
        return self.constant(name, np.array(values, np.int64))

    def keras_order(self, tensor: Tensor) -> "ir.Value":
        """The value of a tensor with its axes in Keras's order: [batch, *shape]."""
        if not tensor.is_map:
            return tensor.value
        name = str(tensor.value.name)
        if len(tensor.shape) == 1:
            return self._reordered(tensor, lambda: self.node("Flatten", [tensor.value], f"{name}/flatten", axis=1))
        if _is_flat(tensor.shape):
            return self._reordered(tensor, lambda: self.reshape(tensor.value, tensor.shape, f"{name}/channels_last"))
        return self._reordered(
            tensor, lambda: self.node("Transpose", [tensor.value], f"{name}/channels_last", perm=_TO_LAST)
        )

    def channels_first(self, tensor: Tensor, data_format: str | None = CHANNELS_LAST) -> "ir.Value":
        """The value of a Keras map (H, W, C) as [batch, C, H, W].

        Args:
            tensor: Of rank 3 without the batch.
            data_format: "channels_first" where Keras itself has (C, H, W).
        """
        if data_format == "channels_first":
            return self.keras_order(tensor)
        if tensor.is_map:
            return tensor.value
        name = str(tensor.value.name)
        if _is_flat(tensor.shape):
            height, width, channels = tensor.shape
            shape = (channels, height, width)
            return self._reordered(tensor, lambda: self.reshape(tensor.value, shape, f"{name}/channels_first"))
        return self._reordered(
            tensor, lambda: self.node("Transpose", [tensor.value], f"{name}/channels_first", perm=_TO_FIRST)
        )

    def map_tensor(self, value: "ir.Value", shape: Sequence[int], data_format: str | None = CHANNELS_LAST) -> Tensor:
        """The Keras tensor for a value [batch, C, H, W].

        Args:
            value: The ONNX value.
            shape: (C, H, W).
            data_format: "channels_first" where Keras itself has (C, H, W).
        """
        channels, height, width = shape
        if data_format == "channels_first":
            return Tensor(value, (channels, height, width))
        return Tensor(value, (height, width, channels), is_map=True)

    def reshape(self, value: "ir.Value", shape: Sequence[int], name: str) -> "ir.Value":
        """The same values as [batch, *shape]."""
        return self.node("Reshape", [value, self.integers(f"{name}/shape", [-1, *shape])], name)

    def _reordered(self, tensor: Tensor, make: "Callable[[], ir.Value]") -> "ir.Value":
        """A value in the other order, made once however many layers need it."""
        key = (str(tensor.value.name), tensor.is_map)
        if key not in self._orders:
            self._orders[key] = make()
        return self._orders[key]

    def _unique(self, name: str) -> str:
        unique = name
        while unique in self._names:
            # Counting goes on where it was: a name used a thousand times is not tried a thousand times.
            self._numbers[name] += 1
            unique = f"{name}_{self._numbers[name] + 1}"
        self._names.add(unique)
        return unique


def _is_flat(shape: Sequence[int]) -> bool:
    """Whether (H, W, C) and (C, H, W) have their values in the same order."""
    height, width, channels = shape
    return channels == 1 or height * width == 1
