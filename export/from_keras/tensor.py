"""Arguments of the layer functions: Keras tensors, and the call of a layer."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import ModelError, UnsupportedLayerError
from braintumor.export.from_keras.graph import LayerCall
from braintumor.export.from_keras.weights import WeightFile

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["Call", "Tensor"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A Keras tensor and the ONNX value that holds it.

    Attributes:
        value: The ONNX value.
        shape: As Keras has it, without the batch.
        is_map: The value is [batch, C, H, W]. Keras has (H, W, C), or (C,) where H and W are 1. Otherwise the
            value has Keras's own order.
        dtype: As Keras has it. The graph computes in float32 in any case.
    """

    value: "ir.Value"
    shape: tuple[int, ...]
    is_map: bool = False
    dtype: str = "float32"

    def replace(self, value: "ir.Value") -> "Tensor":
        """Another value of the same shape and order."""
        return replace(self, value=value)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a layer, as its function gets it.

    Attributes:
        layer: The call as the file has it.
        inputs: All tensors that it takes, arguments before keywords.
        args: Its arguments, with a `Tensor` for each tensor.
        kwargs: The same by keyword.
        weights: The file's weights; `arrays` reads them.
    """

    layer: LayerCall
    inputs: tuple[Tensor, ...]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    weights: WeightFile

    @property
    def name(self) -> str:
        """The name of the call's main node; further nodes are named `name/part`."""
        return self.layer.name

    @property
    def config(self) -> Mapping[str, Any]:
        """The layer's configuration."""
        return self.layer.config

    @property
    def input(self) -> Tensor:
        """The only tensor that the call takes.

        Raises:
            UnsupportedLayerError: It takes several, or none.
        """
        if len(self.inputs) != 1:
            raise self.unsupported(f"it takes {len(self.inputs)} tensors")
        return self.inputs[0]

    def arrays(self, shapes: Mapping[str, tuple[int, ...]]) -> list[NDArray[np.float32]]:
        """The layer's variables in Keras's order, each of exactly the given shape.

        Args:
            shapes: Name and shape of each.

        Raises:
            ModelError: The file holds something else.
        """
        return self.weights.arrays(self.layer.weights, self.layer.layer, shapes)

    def unsupported(self, reason: str = "") -> UnsupportedLayerError:
        """The error to raise for something that this layer's function does not know."""
        return UnsupportedLayerError(self.layer.layer, self.layer.class_name, reason)

    def refused(self, reason: str) -> ModelError:
        """The error to raise for something that no route can export."""
        return ModelError(f"{self.weights.path}: layer {self.layer.layer!r} ({self.layer.class_name}) {reason}")

    def only(self, **allowed: Any) -> None:
        """Refuse a configuration that has other values than these.

        Raises:
            UnsupportedLayerError: It has.
        """
        for key, value in allowed.items():
            if self.config.get(key, value) != value:
                raise self.unsupported(f"{key}={self.config[key]!r} is not known to the direct writer")
