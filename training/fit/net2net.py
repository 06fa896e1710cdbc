"""A trained network grown into a larger one of its family, so that training goes on instead of starting again.

Net2Net (Chen, Goodfellow, Shlens, ICLR 2016) after EfficientNetV2's stages: a layer of the small network becomes the
corner of the layer of the same name in the large one, new channels are seen by new channels only, and a residual
block without counterpart begins as the identity. In every stage that both have, the first channels then compute what
the small network computed; a stage that only the large one has, and all behind it, begin at random.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import ModelError, UsageError
from braintumor.models.build import build_classifier
from braintumor.models.catalog import model_spec
from braintumor.training.keras_io import load_keras_file
from braintumor.training.keras_package import keras_module

__all__ = ["Growth", "grow", "grow_file"]

_DEPTHWISE = "DepthwiseConv2D"


@dataclass(frozen=True)
class Growth:
    """Counts of what `grow` did with the layers of the large network that have weights."""

    embedded: int
    """Layers that hold a layer of the small network in their corner."""
    identities: int
    """Residual blocks without counterpart, which pass their input on."""
    fresh: int
    """Layers whose kernels are left at their random start."""


def grow_file(small: Path, into: str, target: Path, seed: int) -> Growth:
    """Grow the classifier in the `.keras` file `small` into the backbone called `into`, written to `target`.

    Raises:
        UsageError: There is no file `small`.
        ModelError: It is not a classifier of ours, or of another family.
        UsageError: `target` is not named `.keras`.
    """
    if target.suffix != ".keras":
        raise UsageError(f"the file of a Keras model must end in .keras, got {target}", "choose another `target`")
    keras = keras_module()
    source = load_keras_file(small)
    keras.utils.set_random_seed(seed)
    size = int(source.input_shape[1])
    large = build_classifier(model_spec(into), height=size, width=size, weights=None)
    growth = grow(source, large)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.stem}.partial.keras")
    large.save(partial)
    partial.replace(target)
    return growth


def grow(small: Any, large: Any) -> Growth:
    """Write the weights of `small` into `large`, two Keras models of one family; `large` is changed in place.

    Layers are paired by name, as `keras.applications` names them; the head stays as it is in `large`.

    Raises:
        ModelError: Nothing can be carried over, or a layer of `large` is narrower than its counterpart.
    """
    small_layers = {layer.name: layer for layer in small.layers if layer.weights}
    stages = _stages(small)
    embedded = fresh = identities = 0
    for layer in large.layers:
        if not layer.weights:
            continue
        stage, source = _stage(layer.name), small_layers.get(layer.name)
        if source is not None and (stage in stages or layer.name.startswith("stem")):
            layer.set_weights(_embedded(source, layer))
            embedded += 1
            continue
        fresh += 1
        # The last normalisation of a block that the small network lacks; the first block of a stage is no residual.
        if layer.name.endswith("project_bn") and _is_residual(large, layer.name):
            gamma, *rest = layer.get_weights()
            layer.set_weights([np.zeros_like(gamma), *rest])
            identities += 1
    if not any(_stage(name) in stages for name in small_layers if _stage(name)) or not embedded:
        raise ModelError(
            f"{small.name} has no layer in common with {large.name}; both must be EfficientNetV2, the second larger",
            "choose another `into`",
        )
    return Growth(embedded, identities, fresh)


def _stage(name: str) -> str:
    """Such as "block6" of "block6b_expand_conv"; "" of a layer outside the blocks."""
    return name[: len("block0")] if name.startswith("block") else ""


def _stages(model: Any) -> set[str]:
    return {_stage(layer.name) for layer in model.layers} - {""}


def _is_residual(model: Any, name: str) -> bool:
    block = name.partition("_")[0]
    return any(layer.name == f"{block}_add" for layer in model.layers)


def _embedded(source: Any, target: Any) -> list[NDArray[np.float32]]:
    values = []
    for old, new in zip(source.get_weights(), target.get_weights(), strict=True):
        if old.ndim != new.ndim or any(a > b for a, b in zip(old.shape, new.shape, strict=True)):
            raise ModelError(
                f"layer {target.name} is {new.shape} in the larger model and {old.shape} in the smaller one: it "
                "cannot hold it",
                "give the smaller model first",
            )
        values.append(_corner(old, new.copy(), kind=type(target).__name__))
    return values


def _corner(old: NDArray[np.float32], new: NDArray[np.float32], *, kind: str) -> NDArray[np.float32]:
    """`old` in the corner of `new`; in a kernel [h, w, in, out] the old outputs see none of the new inputs."""
    if old.ndim == 4 and kind != _DEPTHWISE:  # noqa: PLR2004 - a kernel
        new[..., old.shape[2] :, : old.shape[3]] = 0
    new[tuple(slice(size) for size in old.shape)] = old
    return new
