"""Whole models: nested, shared, sequential, with operations; their names, and what is refused."""

import json
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braintumor.errors import ModelError, UnsupportedLayerError
from braintumor.export.from_keras import ConvertedModel
from braintumor.export.from_keras.config import read_graph
from braintumor.export.from_keras.weight_places import keys_by_class

SHAPE = (24, 20, 3)
PATH = Path("model.keras")


@pytest.fixture(scope="module")
def keras() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    return keras


def names(converted: ConvertedModel) -> list[str]:
    return [node.name for node in converted.model.graph.node]


def kinds(converted: ConvertedModel) -> Counter[str]:
    return Counter(node.op_type for node in converted.model.graph.node)


def backbone(keras: Any, name: str = "backbone") -> Any:
    image = keras.Input(SHAPE)
    x = keras.layers.Conv2D(6, 3, strides=2, use_bias=False, name="stem")(image)
    x = keras.layers.BatchNormalization(name="stem_bn")(x)
    return keras.Model(image, keras.layers.Activation("relu", name="stem_relu")(x), name=name)


def test_write_network_unfolds_a_nested_model(keras: Any, same_answers: Callable[..., ConvertedModel]):
    image = keras.Input(SHAPE)
    x = backbone(keras)(image / 127.5 - 1, training=False)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    head = keras.Sequential([keras.layers.Dropout(0.2), keras.layers.Dense(4, activation="softmax", name="answer")])
    head.name = "head"
    converted = same_answers(keras.Model(image, head(x), name="whole"))
    assert {"backbone/stem", "backbone/stem_relu", "pool", "head/answer", "head/answer/softmax"} <= set(
        names(converted)
    )
    assert converted.model.graph.name == converted.facts.architecture == "whole"


def test_write_network_unfolds_a_sequential_model_of_models(keras: Any, same_answers: Callable[..., ConvertedModel]):
    layers = keras.layers
    inner = keras.Sequential([layers.Conv2D(5, 3, name="conv"), layers.ReLU()], name="inner")
    model = keras.Sequential(
        [keras.Input(SHAPE), layers.Rescaling(1 / 255), backbone(keras), inner, layers.Flatten(), layers.Dense(4)]
    )
    converted = same_answers(model)
    assert {"backbone/stem", "inner/conv"} <= set(names(converted))


def test_write_network_calls_a_shared_layer_and_a_shared_model_twice(
    keras: Any, same_answers: Callable[..., ConvertedModel]
):
    image = keras.Input(SHAPE)
    features = backbone(keras)
    left, right = features(image / 255.0), features(1.0 - image / 255.0)
    shared = keras.layers.Conv2D(4, 3, name="shared")
    x = keras.layers.Subtract()([shared(left), shared(right)])
    x = keras.layers.GlobalMaxPooling2D()(x)
    converted = same_answers(keras.Model(image, keras.layers.Dense(4, activation="softmax")(x)))
    assert {"shared", "shared@2", "backbone/stem", "backbone/stem@2"} <= set(names(converted))
    kernels = [tensor.name for tensor in converted.model.graph.initializer if tensor.name.startswith("shared/")]
    assert sorted(kernels) == ["shared/bias", "shared/kernel"]


def test_write_network_merges_with_constants_and_with_broadcasting(
    keras: Any, same_answers: Callable[..., ConvertedModel]
):
    layers = keras.layers
    image = keras.Input(SHAPE)
    x = (image - np.array([123.675, 116.28, 103.53])) / np.array([58.4, 57.1, 57.4])
    x = layers.Conv2D(8, 3, padding="same", activation="silu", name="conv")(x)
    squeezed = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Multiply()([x, layers.Conv2D(8, 1, activation="sigmoid")(squeezed)])
    y = layers.Conv2D(8, 3, padding="same")(x)
    x = layers.Average()([x, y, layers.Maximum()([x, y]), layers.Minimum()([y, x, 2.0 * x])])
    x = layers.Concatenate(axis=1)([x, y])
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)])
    converted = same_answers(keras.Model(image, layers.Dense(4, activation="softmax")(x)))
    assert {"conv", "conv/silu/sigmoid", "conv/silu"} <= set(names(converted))
    assert not kinds(converted)["Transpose"]


def test_write_network_leaves_nothing_of_a_squeeze_excite_reshape(
    keras: Any, same_answers: Callable[..., ConvertedModel]
):
    layers = keras.layers
    image = keras.Input((*SHAPE[:2], 1), name="image")
    x = layers.Rescaling(1 / 255)(layers.Concatenate()([image, image, image]))
    x = layers.Conv2D(8, 3, padding="same")(x)
    squeezed = layers.Reshape((1, 1, 8))(layers.GlobalAveragePooling2D()(x))
    x = layers.Multiply()([x, layers.Conv2D(8, 1, activation="sigmoid")(squeezed)])
    x = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(x))
    converted = same_answers(keras.Model(image, layers.Dense(4, activation="softmax")(x)))
    assert kinds(converted) == {
        "Concat": 1, "Mul": 2, "Conv": 2, "GlobalAveragePool": 2, "Sigmoid": 1, "Flatten": 1, "Gemm": 1, "Softmax": 1
    }  # fmt: skip


def test_write_network_maps_a_model_that_is_channels_first_inside(keras: Any, written: Callable[..., ConvertedModel]):
    from .conftest import onnx_answers, pixels

    def model(data_format: str) -> Any:
        first = data_format == "channels_first"
        form = {"data_format": data_format}
        layers = keras.layers
        image = keras.Input(SHAPE)
        x = layers.Permute((3, 1, 2))(image) if first else image
        x = layers.ZeroPadding2D(1, **form)(x)
        x = layers.Conv2D(5, 3, strides=2, padding="same", activation="relu", **form)(x)
        x = layers.BatchNormalization(axis=1 if first else -1)(x)
        x = layers.SeparableConv2D(6, 3, padding="same", **form)(x)
        x = layers.AveragePooling2D(2, **form)(x)
        x = layers.Concatenate(axis=1 if first else -1)([x, layers.DepthwiseConv2D(1, **form)(x)])
        return keras.Model(image, layers.Dense(4)(layers.Flatten(**form)(x)))

    last, first = model("channels_last"), model("channels_first")
    first.set_weights(last.get_weights())
    converted = written(first)
    images = pixels(converted, 4)
    np.testing.assert_allclose(onnx_answers(converted, images), last.predict(images, verbose=0), rtol=1e-5, atol=1e-4)


def test_write_network_fills_in_the_size(
    keras: Any, same_answers: Callable[..., ConvertedModel], written: Callable[..., ConvertedModel]
):
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 4, strides=3, padding="same")(image)
    model = keras.Model(image, keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(x)))
    converted = same_answers(model, size=(31, 23))
    assert (converted.facts.height, converted.facts.width) == (31, 23)
    conv = next(node for node in converted.model.graph.node if node.op_type == "Conv")
    pads = next(list(item.ints) for item in conv.attribute if item.name == "pads")
    assert pads == [1, 1, 2, 1]
    with pytest.raises(ModelError, match="`size"):
        written(model)


def test_write_network_takes_integer_pixels(keras: Any, same_answers: Callable[..., ConvertedModel]):
    image = keras.Input(SHAPE, dtype="uint8")
    x = keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(1 / 255)(image))
    converted = same_answers(keras.Model(image, keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(x))))
    assert converted.facts.input_dtype == "uint8"


def test_write_network_computes_a_mixed_precision_model_in_float32(
    keras: Any, written: Callable[..., ConvertedModel]
):
    from .conftest import onnx_answers, pixels

    def model(policy: str) -> Any:
        layers = keras.layers
        image = keras.Input(SHAPE)
        x = layers.Conv2D(4, 3, dtype=policy)(layers.Rescaling(1 / 255, dtype=policy)(image))
        x = layers.GlobalAveragePooling2D(dtype=policy)(layers.LayerNormalization(dtype=policy)(x))
        return keras.Model(image, layers.Dense(4, activation="softmax", dtype="float32")(x))

    full, mixed = model("float32"), model("mixed_float16")
    full.set_weights(mixed.get_weights())
    converted = written(mixed)
    images = pixels(converted, 4)
    assert np.abs(onnx_answers(converted, images) - full.predict(images, verbose=0)).max() <= 1e-6
    assert converted.facts.policy == "mixed_float16"


def test_write_network_refuses_dropout_that_is_always_on(keras: Any, written: Callable[..., ConvertedModel]):
    image = keras.Input(SHAPE)
    x = keras.layers.Dropout(0.5, name="always_on")(keras.layers.Flatten()(image), training=True)
    with pytest.raises(ModelError, match="always_on") as caught:
        written(keras.Model(image, keras.layers.Dense(4)(x)))
    assert not isinstance(caught.value, UnsupportedLayerError)


def test_write_network_names_the_layer_that_it_does_not_know(keras: Any, written: Callable[..., ConvertedModel]):
    image = keras.Input(SHAPE)
    inner = keras.Sequential(
        [keras.layers.UnitNormalization(), keras.layers.Conv3D(2, 1, name="volume")], name="inner"
    )
    x = keras.layers.Flatten()(inner(keras.layers.Reshape((*SHAPE, 1))(image)))
    with pytest.raises(UnsupportedLayerError) as caught:
        written(keras.Model(image, keras.layers.Dense(4)(x)))
    assert caught.value.layer in {"inner/unit_normalization", "inner/volume"}
    assert caught.value.class_name in {"UnitNormalization", "Conv3D"}


def test_write_network_names_an_option_that_it_does_not_know(keras: Any, written: Callable[..., ConvertedModel]):
    image = keras.Input(SHAPE)
    x = keras.layers.Flatten()(keras.layers.UpSampling2D(2, interpolation="lanczos3", name="up")(image))
    with pytest.raises(UnsupportedLayerError, match="lanczos3") as caught:
        written(keras.Model(image, keras.layers.Dense(4)(x)))
    assert caught.value.layer == "up"


def test_read_graph_orders_calls_and_keeps_what_they_are_given(keras: Any, tmp_path: Path):
    path = tmp_path / "model.keras"
    image = keras.Input(SHAPE, name="image")
    keras.Model(image, keras.layers.Flatten(name="flat")(image * 2.0), name="small").save(path)
    graph = read_graph(json.loads(zipfile.ZipFile(path).read("config.json")), path)
    assert [(call.class_name, call.operation) for call in graph.calls] == [("Multiply", True), ("Flatten", False)]
    assert graph.calls[0].args == (graph.calls[0].args[0], 2.0)
    assert graph.inputs[0].shape == SHAPE
    assert graph.outputs[0].call == "flat"


def looped() -> dict[str, Any]:
    tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": ["loop", 0, 0]}}
    layer = {
        "class_name": "Identity",
        "name": "loop",
        "config": {"name": "loop"},
        "inbound_nodes": [{"args": [tensor], "kwargs": {}}],
    }
    config = {"name": "m", "layers": [layer], "input_layers": [], "output_layers": ["loop", 0, 0]}
    return {"class_name": "Functional", "config": config}


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"class_name": "Flatten", "config": {"name": "flat"}}
    for level in range(depth):
        inner = {"class_name": "Sequential", "config": {"name": f"s{level}", "layers": [inner]}}
    first = {"class_name": "InputLayer", "config": {"name": "i", "batch_shape": [None, 8, 8, 3]}}
    return {"class_name": "Sequential", "config": {"name": "m", "layers": [first, inner]}}


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"class_name": "Functional", "config": {}},
        {"class_name": "Sequential", "config": 7},
        looped(),
        nested(200),
    ],
)
def test_read_graph_refuses_a_config_that_contradicts_itself(config: dict[str, Any]):
    with pytest.raises(ModelError, match=str(PATH)):
        read_graph(config, PATH)


def doubled(depth: int) -> dict[str, Any]:
    """Models within models, each called twice in a row."""
    model: dict[str, Any] = {"class_name": "Flatten", "config": {}}
    for level in range(depth):
        shape = {"name": f"i{level}", "batch_shape": [None, 8]}
        input_layer = {"class_name": "InputLayer", "name": f"i{level}", "config": shape, "inbound_nodes": []}
        inner = {**model, "name": "inner", "config": {**model["config"], "name": "inner"}}
        inner["inbound_nodes"] = [
            {"args": [history(f"i{level}", 0)], "kwargs": {}},
            {"args": [history("inner", 0)], "kwargs": {}},
        ]
        ends = {"input_layers": [f"i{level}", 0, 0], "output_layers": ["inner", 2 if level else 1, 0]}
        model = {"class_name": "Functional", "config": {"name": f"m{level}", "layers": [input_layer, inner], **ends}}
    return model


def history(name: str, call: int) -> dict[str, Any]:
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, call, 0]}}


def test_read_graph_unfolds_models_that_are_called_twice_and_refuses_to_do_so_for_ever():
    assert len(read_graph(doubled(5), PATH).calls) == 32
    with pytest.raises(ModelError, match="calls its layers more than 100,000 times"):
        read_graph(doubled(30), PATH)


def test_read_graph_refuses_a_model_of_another_class():
    with pytest.raises(UnsupportedLayerError, match="MyModel"):
        read_graph({"class_name": "MyModel", "config": {"name": "mine"}}, PATH)


@pytest.mark.parametrize(
    ("name", "key"), [("Conv2D", "conv2d"), ("InputLayer", "input_layer"), ("PReLU", "p_re_lu"), ("ReLU", "re_lu")]
)
def test_snake_case_names_weights_as_keras_does(name: str, key: str):
    assert list(keys_by_class([{"class_name": name}])) == [key]
