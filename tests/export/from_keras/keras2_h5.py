"""Writes a Keras 3 model as Keras 2 would have: the config of Keras 2 and its layout of an HDF5 file."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py

# What Keras 2 did not write, or wrote otherwise.
_NEW = ("optional", "build_config", "shared_object_id", "lora_rank", "quantization_config", "synchronized")


def write_keras2_h5(model: Any, path: Path, version: str = "2.10.0") -> Path:
    """Write the file, with a group for each layer and the weights of inner models in one list."""
    with h5py.File(path, "w") as file:
        file.attrs["backend"] = "tensorflow"
        file.attrs["keras_version"] = version
        file.attrs["model_config"] = json.dumps(keras2_model(model))
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
            group = weights.create_group(layer.name)
            trained = dict(_variables(layer, trained=True))
            named = trained | dict(_variables(layer, trained=False))
            group.attrs["weight_names"] = [name.encode() for name in named]
            for name, variable in named.items():
                group[name] = variable.numpy()
    return path


def keras2_model(model: Any) -> dict[str, Any]:
    """The config of a Functional or Sequential model in the form of Keras 2."""
    config = model.get_config()
    layers = [_layer(model, item) for item in config["layers"]]
    old_config = {"name": model.name, "layers": layers}
    if type(model).__name__ == "Functional":
        old_config |= {
            key: [_place(model, item) for item in _listed(config[key])] for key in ("input_layers", "output_layers")
        }
    return {"class_name": type(model).__name__, "config": old_config}


def _layer(model: Any, item: Mapping[str, Any]) -> dict[str, Any]:
    config = {key: value for key, value in item["config"].items() if key not in _NEW}
    config["dtype"] = "float32"
    if item["class_name"] == "InputLayer":
        config["batch_input_shape"] = config.pop("batch_shape")
    if item["class_name"] == "DepthwiseConv2D":
        # Keras 3 stumbles over these.
        config |= {"groups": 1, "kernel_initializer": None}
    name = config["name"]
    if item["class_name"] in {"Functional", "Sequential"}:
        config = keras2_model(model.get_layer(name))["config"]
    layer = {"class_name": item["class_name"], "config": config}
    if "inbound_nodes" in item:
        layer |= {"name": name, "inbound_nodes": [_node(model, node) for node in item["inbound_nodes"]]}
    return layer


def _node(model: Any, node: Mapping[str, Any]) -> list[Any]:
    tensors = [item["config"]["keras_history"] for item in _listed(node["args"][0]) if isinstance(item, dict)]
    kwargs = {key: value for key, value in node["kwargs"].items() if value is not None}
    return [[*_place(model, place), kwargs] for place in tensors]


def _place(model: Any, place: Any) -> list[Any]:
    name, node, tensor = place
    # Keras 2 counts an inner model's own graph as its first call.
    return [name, node + hasattr(model.get_layer(name), "layers"), tensor]


def _listed(value: Any) -> list[Any]:
    single = isinstance(value, dict) or (len(value) == 3 and isinstance(value[0], str))
    return [value] if single else list(value)


def _variables(layer: Any, *, trained: bool) -> Iterator[tuple[str, Any]]:
    if hasattr(layer, "layers"):
        for inner in layer.layers:
            yield from _variables(inner, trained=trained)
    for variable in () if hasattr(layer, "layers") else layer.weights:
        if variable.trainable == trained:
            yield f"{layer.name}/{variable.name}:0", variable
