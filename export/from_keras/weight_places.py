"""Places of a layer's variables: by class and number in a `.keras` file, by name in an `.h5` file."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from braintumor.errors import ModelError, UnsupportedLayerError
from braintumor.export.from_keras.hdf5 import Hdf5Reader
from braintumor.export.from_keras.keras2 import layer_name

__all__ = ["WeightKeys", "WeightPlaces", "keys_by_class", "keys_by_name", "places_by_class", "places_by_name"]

WeightPlaces: TypeAlias = Callable[[Sequence[str], str], list[Any]]
"""The datasets of a layer's variables in Keras's order, empty where it has none.

Takes `LayerCall.weights` and, for messages, the layer's path.
"""

_ROOT: Final = "model_weights"

WeightKeys: TypeAlias = Callable[[Sequence[Mapping[str, Any]]], Iterator[str]]
"""Gives the key of each layer of one model: a part of `LayerCall.weights`."""


def keys_by_name(layers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The name under which each layer's weights are stored in an `.h5` file: its own."""
    return (layer_name(layer) for layer in layers)


def keys_by_class(layers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The name under which they are stored in a `.keras` file: its class, numbered; operations have none."""
    used: Counter[str] = Counter()
    for layer in layers:
        if ".ops." in f"{layer.get('module')}.":
            yield ""
            continue
        key = _snake_case(str(layer["class_name"]))
        yield f"{key}_{used[key]}" if used[key] else key
        used[key] += 1


def _snake_case(name: str) -> str:
    """The key by which Keras stores a class: Conv2D → conv2d (`keras.src.utils.naming.to_snake_case`)."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def places_by_class(reader: Hdf5Reader) -> WeightPlaces:
    """The places in the `model.weights.h5` of a `.keras` file: `layers/conv2d_1/vars/0`."""

    def find(place: Sequence[str], layer: str) -> list[Any]:
        where = "layers/" + "/layers/".join(place)
        variables = reader.group(f"{where}/vars")
        if variables is None:
            return []
        name = variables.attrs.get("name")
        if isinstance(name, str) and name != layer.rsplit("/", 1)[-1]:
            raise UnsupportedLayerError(layer, "", f"its weights are stored for another layer, {name}")
        if {*variables} != {str(index) for index in range(len(variables))}:
            raise ModelError(
                f"{reader.path}: the weights of layer {layer} are not numbered: config and weights do not fit "
                "each other",
                "save the model again",
            )
        return [reader.member(variables, str(index)) for index in range(len(variables))]

    return find


def places_by_name(reader: Hdf5Reader, model: str) -> WeightPlaces:
    """The places in an `.h5` file: a group for each layer of the outermost model, its weights by their names.

    A group lists its weights in Keras's order, as `conv2d/kernel:0`. Those of a model inside the model are in one
    group, first what is trained and then what is not, so that a layer's own are known by their names alone, in front
    of which the names of models around the layer may stand.

    Args:
        reader: The file.
        model: The model's own name.
    """
    indices: dict[str, _Index] = {}

    def find(place: Sequence[str], layer: str) -> list[Any]:
        outer = place[0]
        if outer not in indices:
            indices[outer] = _Index(reader.names(f"{_ROOT}/{outer}", "weight_names") or [])
        index = indices[outer]
        names = index.names if len(place) == 1 else index.of(place[-1], [model, *place[:-1]])
        datasets = []
        for name in names:
            above, _, last = f"{_ROOT}/{outer}/{name}".rpartition("/")
            group = reader.group(above)
            if group is None or last not in group:
                raise ModelError(
                    f"{reader.path}: layer {layer} names a weight {name} that the file does not hold",
                    "save the model again",
                )
            datasets.append(reader.member(group, last))
        return datasets

    return find


class _Index:
    """The names of the weights in one group, by the layer that they name."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self._by_layer: dict[str, dict[str, list[str]]] = {}
        for name in names:
            parts = name.split("/")[:-1]
            # A layer's own name may hold slashes, as in DenseNet: conv1/bn.
            for start in range(len(parts)):
                layer, before = "/".join(parts[start:]), "/".join(parts[:start])
                self._by_layer.setdefault(layer, {}).setdefault(before, []).append(name)

    def of(self, layer: str, models: Sequence[str]) -> list[str]:
        """The names for a layer inside models, outermost first."""
        around = "/".join(models).split("/")
        fitting = [before for before in self._by_layer.get(layer, ()) if _is_subsequence(before.split("/"), around)]
        return self._by_layer[layer][max(fitting, key=len)] if fitting else []


def _is_subsequence(parts: Sequence[str], whole: Sequence[str]) -> bool:
    """Whether all parts, except empty ones, are in the whole in this order."""
    remaining = iter(whole)
    return all(part in remaining for part in parts if part)
