"""Each pass on models made for it: where it fires, where it must not, and always Keras's numbers."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from braintumor.export.from_keras import ConvertedModel

SHAPE = (24, 20, 3)


@pytest.fixture(scope="module")
def keras() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    return keras


@pytest.fixture
def simplified(keras: Any, same_answers: Callable[..., ConvertedModel]) -> Callable[..., onnx.ModelProto]:
    """A model of these layers behind a scaling, as ONNX, with the answers of Keras."""

    def make(build: Callable[[Any, Any], Any]) -> onnx.ModelProto:
        image = keras.Input(SHAPE)
        x = build(keras.layers, keras.layers.Rescaling(1 / 255)(image))
        if len(x.shape) == 4:
            x = keras.layers.GlobalAveragePooling2D()(x)
        model = keras.Model(image, keras.layers.Dense(4, activation="softmax")(x))
        rng = np.random.default_rng(0)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.set_weights([rng.uniform(0.5, 2, weight.shape) for weight in layer.get_weights()])
        converted = same_answers(model)
        onnx.checker.check_model(converted.model, full_check=True)
        return converted.model

    return make


Simplified = Callable[..., onnx.ModelProto]


def kinds(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def constants(model: onnx.ModelProto) -> dict[str, Any]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_fold_scales_takes_a_batch_norm_into_a_convolution(simplified: Simplified):
    model = simplified(lambda k, x: k.BatchNormalization()(k.Conv2D(5, 3, use_bias=False, name="conv")(x)))
    assert not kinds(model)["BatchNormalization"]
    assert {"conv/kernel", "conv/bias"} <= set(constants(model))


def test_fold_scales_rounds_once(simplified: Simplified):
    expected: dict[str, Any] = {}

    def build(layers: Any, x: Any) -> Any:
        conv, norm = layers.Conv2D(5, 3, name="conv"), layers.BatchNormalization(name="norm")
        expected.update(conv=conv, norm=norm)
        return norm(conv(x))

    model = simplified(build)
    kernel, bias = (np.asarray(weight, np.float64) for weight in expected["conv"].get_weights())
    gamma, beta, mean, variance = (np.asarray(weight, np.float64) for weight in expected["norm"].get_weights())
    scale = gamma / np.sqrt(variance + expected["norm"].epsilon)
    folded = constants(model)
    np.testing.assert_array_equal(folded["conv/kernel"], (kernel * scale).astype(np.float32).transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(folded["conv/bias"], (bias * scale + (beta - mean * scale)).astype(np.float32))


@pytest.mark.parametrize("kind", ["Conv2D", "DepthwiseConv2D", "SeparableConv2D"])
def test_fold_scales_takes_a_chain_into_any_convolution(simplified: Simplified, kind: str):
    def build(layers: Any, x: Any) -> Any:
        conv = layers.DepthwiseConv2D(3) if kind == "DepthwiseConv2D" else getattr(layers, kind)(5, 3)
        return layers.BatchNormalization()(layers.BatchNormalization(scale=False)(conv(x)) * 0.17)

    model = simplified(build)
    assert kinds(model)["Mul"] == 1
    assert not kinds(model)["BatchNormalization"]


def test_fold_scales_takes_a_batch_norm_into_a_dense_layer(simplified: Simplified):
    model = simplified(lambda k, x: k.BatchNormalization()(k.Dense(7)(k.GlobalAveragePooling2D()(x))))
    assert kinds(model)["Gemm"] == 2
    assert not kinds(model)["BatchNormalization"]


def test_fold_scales_leaves_a_convolution_that_others_read(simplified: Simplified):
    def build(layers: Any, x: Any) -> Any:
        y = layers.Conv2D(5, 3)(x)
        return layers.Add()([y, layers.BatchNormalization()(y)])

    assert kinds(simplified(build))["BatchNormalization"] == 1


def test_fold_scales_leaves_weights_that_another_call_reads(simplified: Simplified):
    def build(layers: Any, x: Any) -> Any:
        shared = layers.Conv2D(5, 3, name="shared")
        return layers.Add()([layers.BatchNormalization()(shared(x)), shared(layers.ReLU()(x))])

    assert kinds(simplified(build))["BatchNormalization"] == 1


def test_fold_scales_leaves_a_factor_that_is_a_tensor(simplified: Simplified):
    def build(layers: Any, x: Any) -> Any:
        return layers.Multiply()([layers.Conv2D(5, 3)(x), layers.Conv2D(5, 3)(x)])

    assert kinds(simplified(build))["Mul"] == 2


def test_plain_batch_norms_keeps_one_node_before_a_relu(simplified: Simplified):
    def build(layers: Any, x: Any) -> Any:
        x = layers.Concatenate()([x, x])
        return layers.Conv2D(5, 3)(layers.ReLU()(layers.BatchNormalization(name="norm")(x)))

    model = simplified(build)
    assert kinds(model)["BatchNormalization"] == kinds(model)["Relu"] == 1
    arrays = constants(model)
    assert not arrays["norm/mean"].any()
    assert (arrays["norm/variance"] == 1).all()
    assert not {"norm/gamma", "norm/beta", "norm/moving_mean", "norm/moving_variance"} & set(arrays)


def test_plain_batch_norms_takes_a_variance_beyond_half_precision(
    keras: Any, same_answers: Callable[..., ConvertedModel]
):
    image = keras.Input(SHAPE)
    norm = keras.layers.BatchNormalization()
    x = keras.layers.GlobalAveragePooling2D()(norm(image))
    model = keras.Model(image, keras.layers.Dense(4)(x))
    norm.set_weights([np.full(3, 300.0), np.zeros(3), np.full(3, 127.0), np.full(3, 1e6)])
    arrays = constants(same_answers(model).model)
    assert max(np.abs(value).max() for name, value in arrays.items() if "batch_norm" in name) < 65504


def test_fold_padding_takes_zeros_into_a_convolution(simplified: Simplified):
    build = lambda k, x: k.Conv2D(5, 3, strides=2, padding="same")(k.ZeroPadding2D(((1, 2), (0, 3)))(x))  # noqa: E731
    model = simplified(build)
    assert not kinds(model)["Pad"]


def test_fold_padding_leaves_the_padding_of_a_pooling(simplified: Simplified):
    def build(layers: Any, x: Any) -> Any:
        padded = layers.ZeroPadding2D(1)(x - 2.0)
        return layers.Concatenate()([layers.MaxPooling2D(3)(padded), layers.Conv2D(5, 3, strides=3)(padded)])

    assert kinds(simplified(build))["Pad"] == 1


def test_drop_unread_leaves_no_constant_that_nothing_reads(simplified: Simplified):
    model = simplified(lambda k, x: k.BatchNormalization()(k.Conv2D(5, 3)(k.ZeroPadding2D(1)(x))))
    read = {name for node in model.graph.node for name in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= read
