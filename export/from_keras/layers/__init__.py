"""The layers and operations that the direct writer knows, by class name. One function a class, one file a family.

A function takes the `Call` and the `Builder`, appends nodes and gives the layer's result: a `Tensor`, or a tuple of
them for a layer with several outputs. To add a layer, write a function in its family's file and a line in that
file's table.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from braintumor.export.from_keras.builder import Builder
from braintumor.export.from_keras.layers import (
    activation,
    arithmetic,
    convolution,
    dense,
    indexing,
    merging,
    normalization,
    passing,
    pooling,
    reduction,
    resizing,
    scaling,
    shape,
)
from braintumor.export.from_keras.tensor import Call, Tensor

__all__ = ["INTEGER_INPUT", "LAYERS", "OPERATIONS", "LayerFunction"]

LayerFunction: TypeAlias = Callable[[Call, Builder], "Tensor | tuple[Tensor, ...]"]

LAYERS: Final[Mapping[str, LayerFunction]] = {
    **activation.LAYERS,
    **convolution.LAYERS,
    **dense.LAYERS,
    **merging.LAYERS,
    **normalization.LAYERS,
    **passing.LAYERS,
    **pooling.LAYERS,
    **resizing.LAYERS,
    **scaling.LAYERS,
    **shape.LAYERS,
}
"""Layers of `keras.layers`."""

OPERATIONS: Final[Mapping[str, LayerFunction]] = {
    **activation.OPERATIONS,
    **arithmetic.OPERATIONS,
    **indexing.OPERATIONS,
    **merging.OPERATIONS,
    **pooling.OPERATIONS,
    **reduction.OPERATIONS,
    **resizing.OPERATIONS,
    **shape.OPERATIONS,
}
"""Operations of `keras.ops`, which Keras saves like layers: `x / 127.5` is a TrueDivide."""

INTEGER_INPUT: Final = frozenset(
    {
        "Concatenate",
        "Divide",
        "GetItem",
        "Identity",
        "Normalization",
        "Rescaling",
        "Stack",
        "TrueDivide",
        *passing.AUGMENTATION,
    }
)
"""Those that take integers, as a model with uint8 input gives them, and compute what they would with floats."""
