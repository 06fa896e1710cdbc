"""Reading a model's config: every layer call in order, models within models unfolded.

Only data is read: no class is looked up by name, nothing of the file runs.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from braintumor.errors import ModelError, UnsupportedLayerError
from braintumor.export.from_keras.graph import KerasGraph, LayerCall, ModelInput, TensorRef
from braintumor.export.from_keras.histories import call_arguments, call_order, histories, leaves
from braintumor.export.from_keras.keras2 import MODELS, layer_name, modern_layers, modern_model
from braintumor.export.from_keras.training_calls import TRAINED_OTHERWISE, training_flag
from braintumor.export.from_keras.weight_places import WeightKeys, keys_by_class, keys_by_name

__all__ = ["read_graph"]

_MAX_DEPTH: Final = 32
# A model that is called twice within one that is called twice, and so on, unfolds to any number of calls.
_MAX_CALLS: Final = 100_000
_KERAS: Final = frozenset({"keras", "tf_keras", "tensorflow"})


def read_graph(config: Mapping[str, Any], path: Path, *, by_name: bool = False, keras2: bool = False) -> KerasGraph:
    """Unfold a model's config.

    Args:
        config: The config.
        path: The model file, for messages.
        by_name: The file keeps its weights by the names of the layers, as `.h5` does, not by their classes.
        keras2: In Keras 2 a model that is called with training=True hands that on to its layers.

    Raises:
        UnsupportedLayerError: It is a model of a class other than Functional and Sequential.
        ModelError: The config contradicts itself.
    """
    try:
        return _Reader(path, keys_by_name if by_name else keys_by_class, keras2=keras2).read(config)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{path}: its config does not describe a Keras model ({type(error).__name__}: {error})",
            "save the model again",
        ) from error


class _Reader:
    """Unfolds models within models into one list of calls."""

    def __init__(self, path: Path, keys: WeightKeys, *, keras2: bool) -> None:
        self._path = path
        self._keys = keys
        self.calls: list[LayerCall] = []
        self._calls_of: Counter[str] = Counter()
        self._called = 0
        self._keras2, self._in_training = keras2, False

    def read(self, config: Mapping[str, Any]) -> KerasGraph:
        config = modern_model(config)
        inputs = [*_model_inputs(config)]
        if not inputs and config["class_name"] == "Sequential":
            # A Sequential that was saved before it was built; the caller says so.
            return KerasGraph(str(config["config"]["name"]), (), (), ())
        tensors = {item.name: TensorRef(item.name) for item in inputs}
        outputs = self._unfold(config, "", (), tensors, 0)
        if not outputs:
            raise ValueError("it has no output")
        return KerasGraph(str(config["config"]["name"]), tuple(inputs), tuple(self.calls), tuple(outputs))

    def _unfold(
        self,
        model: Mapping[str, Any],
        prefix: str,
        weights: tuple[str, ...],
        inputs: Mapping[str, TensorRef],
        depth: int,
    ) -> list[TensorRef]:
        """Append the calls of one model whose InputLayers stand for the given tensors."""
        if depth > _MAX_DEPTH:
            raise ModelError(
                f"{self._path}: its models are nested deeper than {_MAX_DEPTH}", "build it of fewer and save it again"
            )
        if model["class_name"] == "Sequential":
            return self._unfold_sequential(model, prefix, weights, inputs, depth)
        if model["class_name"] not in MODELS:
            raise UnsupportedLayerError(prefix.rstrip("/") or str(model["config"].get("name")), model["class_name"])
        return self._unfold_functional(model["config"], prefix, weights, inputs, depth)

    def _unfold_sequential(
        self,
        model: Mapping[str, Any],
        prefix: str,
        weights: tuple[str, ...],
        inputs: Mapping[str, TensorRef],
        depth: int,
    ) -> list[TensorRef]:
        layers = [layer for layer in model["config"]["layers"] if layer["class_name"] != "InputLayer"]
        (tensor,) = inputs.values()
        for layer, key in zip(layers, self._keys(layers), strict=True):
            (tensor,) = self._call(layer, prefix, (*weights, key), (tensor,), {}, depth)
        return [tensor]

    def _unfold_functional(
        self,
        config: Mapping[str, Any],
        prefix: str,
        weights: tuple[str, ...],
        inputs: Mapping[str, TensorRef],
        depth: int,
    ) -> list[TensorRef]:
        layers = modern_layers(config["layers"])
        keys = dict(zip((layer["name"] for layer in layers), self._keys(layers), strict=True))
        made: dict[tuple[str, int], list[TensorRef]] = {(name, 0): [tensor] for name, tensor in inputs.items()}
        by_name = {layer["name"]: layer for layer in layers}
        for name, index in call_order(layers):
            args, kwargs = call_arguments(by_name[name], index, made)
            where = (*weights, keys[name])
            made[name, index] = self._call(by_name[name], prefix, where, args, kwargs, depth)
        outputs = []
        for name, index, tensor in histories(config["output_layers"]):
            # Here, but not in the histories, Keras counts a Functional model's own graph as its first call; Keras 2
            # does so for a Sequential model, too.
            own = by_name[name]["class_name"] in MODELS - {"Sequential"} or (name, index) not in made
            outputs.append(made[name, index - own][tensor])
        return outputs

    def _call(
        self,
        layer: Mapping[str, Any],
        prefix: str,
        weights: tuple[str, ...],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        depth: int,
    ) -> list[TensorRef]:
        self._called += 1
        if self._called > _MAX_CALLS:
            raise ModelError(f"{self._path} calls its layers more than {_MAX_CALLS:,} times", "build it of fewer")
        path = prefix + layer_name(layer)
        self._calls_of[path] += 1
        name = path if self._calls_of[path] == 1 else f"{path}@{self._calls_of[path]}"
        trains = layer["class_name"] in {*MODELS, *TRAINED_OTHERWISE}
        if self._in_training and trains and training_flag(args, kwargs) is None:
            kwargs = {**kwargs, "training": True}
        if layer["class_name"] in MODELS:
            layer = modern_model(layer)
            tensors = [item for item in leaves([*args, kwargs]) if isinstance(item, TensorRef)]
            names = [item.name for item in _model_inputs(layer)]
            inputs = dict(zip(names, tensors, strict=True)) if names else {"": tensors[0]}
            outside, self._in_training = self._in_training, self._keras2 and bool(training_flag(args, kwargs))
            outputs = self._unfold(layer, f"{path}/", weights, inputs, depth + 1)
            self._in_training = outside
            return outputs
        operation = ".ops." in f"{layer.get('module')}."
        call = LayerCall(
            name, path, _class_name(layer), operation, layer["config"], weights, _policy(layer), args, kwargs
        )
        self.calls.append(call)
        return [TensorRef(name, index) for index in range(_OUTPUTS.get(call.class_name, 1))]


# Layers with more than one output that the writer may ever know; a history beyond them is an IndexError.
_OUTPUTS: Final[Mapping[str, int]] = {"Split": 64, "Unstack": 64, "LSTM": 3, "GRU": 2, "Bidirectional": 5}


def _model_inputs(model: Mapping[str, Any]) -> Iterator[ModelInput]:
    config = model["config"]
    if model["class_name"] == "Sequential":
        yield from (_model_input(layer) for layer in config["layers"][:1] if layer["class_name"] == "InputLayer")
        return
    by_name = {layer["name"]: layer for layer in config.get("layers", ())}
    for name, _, _ in histories(config.get("input_layers", ())):
        yield _model_input(by_name[name])


def _model_input(layer: Mapping[str, Any]) -> ModelInput:
    config = layer["config"]
    shape = config.get("batch_shape") or config["batch_input_shape"]
    if not all(size is None or type(size) is int for size in shape):
        raise TypeError(f"an input of shape {shape!r:.100}")
    return ModelInput(str(config["name"]), tuple(shape[1:]), _dtype_name(config.get("dtype") or "float32"))


def _class_name(layer: Mapping[str, Any]) -> str:
    """A class of Keras's own by its name, any other class so that it is not taken for one of Keras's."""
    name, registered, module = str(layer["class_name"]), layer.get("registered_name"), layer.get("module")
    if str(module or "keras").split(".")[0] in _KERAS and (module or not registered):
        return name
    return f"{registered}" if ">" in f"{registered}" else f"{module or 'custom'}>{name}"


def _policy(layer: Mapping[str, Any]) -> str:
    return _dtype_name(layer["config"].get("dtype") or "float32")


def _dtype_name(dtype: Any) -> str:
    """A dtype or policy, given by name or as a serialised DTypePolicy."""
    return str(dtype["config"]["name"]) if isinstance(dtype, Mapping) else str(dtype)
