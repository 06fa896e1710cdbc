"""Configs of Keras 2 in the form of Keras 3.

Keras 2.12 to 2.15, and tf-keras after them, save `.keras` files whose weights are laid out as today; all of Keras 2
saves `.h5`. In their config a call is `[[layer, call, tensor, keywords], …]`, a tensor among the keywords
`[layer, call, tensor]`, and arithmetic such as `x / 127.5` is a layer called TFOpLambda.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["MODELS", "layer_name", "modern_layers", "modern_model"]

MODELS: Final = frozenset({"Functional", "Model", "Sequential"})
"""Classes that are models of layers."""

_CONSTANT: Final = "_CONSTANT_VALUE"
_HISTORY_LENGTH: Final = 3

_OPERATIONS: Final[Mapping[str, str]] = {
    "__operators__.add": "Add",
    "math.add": "Add",
    "math.divide": "Divide",
    "math.multiply": "Multiply",
    "math.subtract": "Subtract",
    "math.truediv": "TrueDivide",
}

# Those of one tensor, without options.
_ACTIVATIONS: Final[Mapping[str, str]] = {
    "math.sigmoid": "Sigmoid",
    "math.tanh": "Tanh",
    "nn.relu": "Relu",
    "nn.relu6": "Relu6",
    "nn.silu": "Silu",
}


def layer_name(layer: Mapping[str, Any]) -> str:
    """The name of a layer."""
    return str(layer["config"].get("name") or layer["name"])


def modern_model(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """A model whose config is a dictionary, and a Sequential that begins with its InputLayer if its input is known.

    Until 2.2.2 the config of a Sequential is the list of its layers; until 2.3 its first layer has the input's shape.
    """
    if model["class_name"] != "Sequential":
        return model
    config = model["config"]
    config = {"name": "sequential", "layers": config} if isinstance(config, list) else config
    layers = config["layers"]
    shape = _input_shape(layers[0]) if layers and layers[0]["class_name"] != "InputLayer" else None
    if shape is not None:
        input_layer = {"class_name": "InputLayer", "config": {"name": "input", "batch_input_shape": shape}}
        layers = [input_layer, *layers]
    return {**model, "config": {**config, "layers": layers}}


def _input_shape(layer: Mapping[str, Any]) -> list[int | None] | None:
    """The shape that a first layer says it takes, with the batch; None where it does not."""
    if layer["class_name"] == "Sequential":
        inner = layer["config"] if isinstance(layer["config"], list) else layer["config"]["layers"]
        return _input_shape(inner[0]) if inner else None
    if layer["class_name"] in MODELS:
        by_name = {item["name"]: item for item in layer["config"]["layers"]}
        return _input_shape(by_name[layer["config"]["input_layers"][0][0]])
    shape = layer["config"].get("batch_input_shape") or layer["config"].get("batch_shape")
    return None if shape is None else list(shape)


def modern_layers(layers: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The layers of a Functional model in the form of Keras 3; as they are, where they have it already."""
    by_name = {layer["name"]: layer for layer in layers}
    return [_modern(layer, by_name) for layer in layers]


def _modern(layer: Mapping[str, Any], by_name: Mapping[str, Any]) -> Mapping[str, Any]:
    nodes = layer["inbound_nodes"]
    if all(isinstance(node, Mapping) for node in nodes):
        return layer
    modern = {**layer, "inbound_nodes": [_modern_node(node, by_name) for node in nodes]}
    function = str(layer["config"].get("function"))
    plain = not any(node["kwargs"] for node in modern["inbound_nodes"])
    operation = _OPERATIONS.get(function) or (_ACTIVATIONS.get(function) if plain else None)
    if layer["class_name"] == "TFOpLambda" and operation is not None:
        modern |= {"module": "keras.ops", "class_name": operation}
    return modern


def _modern_node(node: Sequence[Any], by_name: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(node[0], str):
        # An operation of one tensor.
        node = [node]
    args = [item[2] if item[0] == _CONSTANT else _tensor(item, by_name) for item in node]
    keywords = node[0][_HISTORY_LENGTH] if len(node[0]) > _HISTORY_LENGTH else {}
    kwargs = {
        key: _tensor(value, by_name) if _is_tensor(value, by_name) else value
        for key, value in keywords.items()
        if key != "name"
    }
    return {"args": args if len(args) == 1 else [args], "kwargs": kwargs}


def _is_tensor(value: Any, by_name: Mapping[str, Any]) -> bool:
    return isinstance(value, list) and len(value) == _HISTORY_LENGTH and value[0] in by_name


def _tensor(item: Sequence[Any], by_name: Mapping[str, Any]) -> dict[str, Any]:
    name, number, tensor = item[:_HISTORY_LENGTH]
    # A model that is a layer counts its own graph as its first call.
    own = by_name[name]["class_name"] in MODELS
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, number - own, tensor]}}
