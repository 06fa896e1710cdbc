"""A model's network as ONNX: written directly, or by Keras and tf2onnx where it has a layer that needs them."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import checker, shape_inference

from braintumor.errors import KerasLoadError, ModelError, UnavailableError, UnsupportedLayerError
from braintumor.export.from_keras import KerasFacts, write_network
from braintumor.export.from_keras.archive import KerasArchive
from braintumor.export.graph.simplify import simplified

__all__ = [
    "NETWORK_RECIPE",
    "Network",
    "Route",
    "ends_in_logits",
    "installed_tools",
    "keras_is_installed",
    "read_network",
    "tool_version",
    "tool_versions",
]

NETWORK_RECIPE: Final = 1
"""Moves when `read_network` would give another network for the same model."""

_DIRECT_TOOLS: Final = ("numpy", "onnx", "onnx-ir", "onnxruntime")
_KERAS_TOOLS: Final = ("keras", "onnxslim", "tensorflow", "tf2onnx")
# The CPU and GPU builds of one library go by two names.
_TWINS: Final[Mapping[str, str]] = {"tensorflow": "tensorflow-cpu", "onnxruntime": "onnxruntime-gpu"}

_SUM_TOLERANCE: Final = 1e-3

_UNROLL: Final = (
    "a recurrent layer that is built with unroll=True and given the same weights has none: set_weights, and save it"
)
_OTHER_LAYER: Final = "build the model without that layer, set_weights, and save it again"


@dataclass(frozen=True, slots=True)
class Route:
    """The converter that wrote a model as ONNX.

    Attributes:
        name: "direct", or "keras" for Keras and tf2onnx.
        reason: Why it was not the direct one, such as "layer 'memory' (GRU)"; "" for the direct one.
    """

    name: Literal["direct", "keras"]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Network:
    """A network alone: `wrap_io` of `braintumor.export.graph.io_wrapper` adds scaling, softmax and class order.

    Attributes:
        model: Takes `pixels`, float [batch, channels, height, width]; gives what the Keras model gives.
        facts: About the Keras model.
        route: The converter that wrote it.
        nodes: In the graph as written; on the slow route before simplification.
    """

    model: onnx.ModelProto
    facts: KerasFacts
    route: Route
    nodes: int


def read_network(archive: KerasArchive, size: tuple[int, int] | None) -> Network:
    """Write a model's network as ONNX.

    Args:
        archive: The model.
        size: Height and width in pixels, for a model that takes any.

    Raises:
        ModelError: It is not a classifier that can be exported.
        UnavailableError: It has a layer that needs Keras and tf2onnx, and these are not installed.
    """
    try:
        converted = write_network(archive, size=size)
    except UnsupportedLayerError as error:
        return _through_keras(archive, size, error)
    return Network(converted.model, converted.facts, Route("direct"), len(converted.model.graph.node))


def _through_keras(
    archive: KerasArchive, size: tuple[int, int] | None, unsupported: UnsupportedLayerError
) -> Network:
    from braintumor.export.via_keras.convert import convert
    from braintumor.export.via_keras.operators import replace_erfc, unsupported_operator

    route = Route("keras", str(unsupported))
    if missing := [name for name in _KERAS_TOOLS if tool_version(name) is None]:
        raise UnavailableError(
            f"{archive.path} needs Keras and tf2onnx, because {route.reason}; {', '.join(missing)} is not installed",
            "install it with: pip install 'braintumor[export]'",
        )
    try:
        model, facts = convert(archive, size, tool_versions(route))
    except KerasLoadError as error:
        raise ModelError(
            f"{archive.path} (of Keras {archive.keras_version}) cannot be exported: {route.reason}, and {error}",
            "build the network anew in the installed Keras with built-in layers, copy the weights with set_weights, "
            "and save it",
        ) from error
    replace_erfc(model)
    if node := unsupported_operator(model):
        raise ModelError(
            f"{archive.path}: {route.reason}, and Keras and tf2onnx write {node.op_type} for it, "
            "which no bundle may hold",
            _UNROLL if node.op_type == "Loop" else _OTHER_LAYER,
        )
    nodes = len(model.graph.node)
    try:
        return Network(simplified(model), facts, route, nodes)
    except (RuntimeError, checker.ValidationError, shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{archive.path}: {route.reason}, and what Keras and tf2onnx write for it is not a valid ONNX ({reason})",
            _OTHER_LAYER,
        ) from error


def ends_in_logits(activation: str | None, answers: NDArray[np.float32], path: object) -> bool:
    """Whether a softmax has to be added: decided by the last layer or, where that is not clear, by the answers.

    A softmax sums to 1, logits leave 0..1.

    Args:
        activation: Of the last layer that has one; None where the layers do not tell.
        answers: float32 [n, classes], or [n, 1] for one unit that tells two classes apart, of the network.
        path: Of the model, for messages.

    Raises:
        ModelError: The answers are not finite, or they are neither.
    """
    if not np.isfinite(answers).all():
        raise ModelError(f"{path} gives NaN or infinite outputs on the verification images")
    if activation == "linear" or (activation == "softmax" and answers.shape[1] > 1):
        return activation == "linear"
    if answers.shape[1] == 1:
        return _unit_is_logit(activation, path)
    within = bool((answers >= 0).all() and (answers <= 1).all())
    if activation == "sigmoid":
        raise ModelError(
            f"{path} ends in independent sigmoids, which do not choose one class",
            "train it with a softmax or with logits",
        )
    if within and np.abs(answers.sum(axis=1) - 1).max() < _SUM_TOLERANCE:
        return False
    if within:
        raise ModelError(
            f"{path} gives values in 0..1 that do not sum to 1, and its last layer is neither a softmax nor linear",
            "end it in a Dense layer with activation='softmax', or without activation for logits",
        )
    return True


def _unit_is_logit(activation: str | None, path: object) -> bool:
    if activation == "sigmoid":
        return False
    raise ModelError(
        f"{path} gives one value, and its last layer is neither a sigmoid nor linear but {activation or 'unknown'}",
        "for two classes end it in Dense(1, activation='sigmoid'), or without activation for logits",
    )


def tool_versions(route: Route) -> dict[str, str]:
    """Versions of the libraries that decide what an export by a route looks like.

    Raises:
        UnavailableError: One of them is not installed.
    """
    names = _DIRECT_TOOLS if route.name == "direct" else (*_DIRECT_TOOLS, *_KERAS_TOOLS)
    versions = {name: tool_version(name) for name in sorted(names)}
    if missing := [name for name, installed in versions.items() if installed is None]:
        raise UnavailableError(
            f"exporting needs {', '.join(missing)}, which is not installed",
            f"install it with: pip install 'braintumor[{'cpu' if route.name == 'direct' else 'export,cpu'}]'",
        )
    return {name: installed for name, installed in versions.items() if installed is not None}


def installed_tools() -> dict[str, str | None]:
    """Versions of every library that an export may use; None where one is not installed."""
    return {name: tool_version(name) for name in sorted((*_DIRECT_TOOLS, *_KERAS_TOOLS))}


def keras_is_installed() -> bool:
    """Whether Keras can answer here: it and TensorFlow are installed. Neither is imported."""
    return tool_version("keras") is not None and tool_version("tensorflow") is not None


def tool_version(name: str) -> str | None:
    """A package's version; None where it is not installed. Nothing is imported."""
    for known_as in (name, _TWINS.get(name)):
        try:
            if known_as is not None:
                return version(known_as)
        except PackageNotFoundError:
            continue
    return None
