"""Every layer of the direct writer against Keras: small models, random weights."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="module")
def keras() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    return keras


def randomized(model: Any) -> Any:
    """The model with weights that no initialiser gives: biases, gammas, means and variances that are not 0 or 1."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "seed" in weight.path or "count" in weight.path:
            continue
        value = np.asarray(weight)
        low = 0.5 if "variance" in weight.path or "gamma" in weight.path else -0.5
        weight.assign(
            rng.uniform(low, 1.0, value.shape) if value.ndim < 2 else value + rng.normal(0, 0.02, value.shape)
        )
    return model


def classifier(keras: Any, layers: list[Any], *, shape: tuple[int, ...] = (17, 22, 3), scaled: bool = True) -> Any:
    """A model of these layers, with the pixels scaled before and a softmax over four classes behind."""
    image = keras.Input(shape)
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(image) if scaled else image
    for layer in layers:
        x = layer(x)
    if len(x.shape) > 2:
        x = keras.layers.GlobalAveragePooling2D()(x) if len(x.shape) == 4 else keras.layers.Flatten()(x)
    return randomized(keras.Model(image, keras.layers.Dense(4, activation="softmax")(x)))


CASES = {
    "conv_valid": lambda k: [k.Conv2D(8, 3, strides=2)],
    "conv_same_even": lambda k: [k.Conv2D(8, 4, strides=(2, 3), padding="same")],
    "conv_dilated": lambda k: [k.Conv2D(8, 3, dilation_rate=2, padding="same", use_bias=False)],
    "conv_groups": lambda k: [k.Conv2D(6, 3, groups=3, activation="relu")],
    "depthwise": lambda k: [k.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2, activation="gelu")],
    "separable": lambda k: [k.SeparableConv2D(8, (3, 5), padding="same", depth_multiplier=2, activation="tanh")],
    "conv_batch_norm": lambda k: [k.Conv2D(8, 3, use_bias=False), k.BatchNormalization(scale=False)],
    "batch_norm_first": lambda k: [k.BatchNormalization(center=False, epsilon=1e-5), k.Conv2D(8, 3)],
    "batch_norm_axis": lambda k: [k.BatchNormalization(axis=1)],
    "batch_norm_vector": lambda k: [k.GlobalMaxPooling2D(), k.BatchNormalization(), k.Dense(5)],
    "layer_norm": lambda k: [k.Conv2D(8, 3), k.LayerNormalization(epsilon=1e-6), k.Dense(5, activation="gelu")],
    "layer_norm_axes": lambda k: [k.LayerNormalization(axis=[1, 2, 3])],
    "layer_norm_plain": lambda k: [k.Conv2D(8, 3), k.LayerNormalization(center=False, scale=False)],
    "group_norm": lambda k: [k.Conv2D(8, 3), k.GroupNormalization(4)],
    "group_norm_one": lambda k: [k.Conv2D(8, 3), k.GroupNormalization(-1, scale=False)],
    "group_norm_vector": lambda k: [k.GlobalAveragePooling2D(), k.Dense(8), k.GroupNormalization(2)],
    "max_same": lambda k: [k.Conv2D(4, 3), k.MaxPooling2D(3, strides=2, padding="same")],
    "max_valid": lambda k: [k.MaxPooling2D((2, 3))],
    "average_same": lambda k: [k.AveragePooling2D(3, strides=2, padding="same")],
    "average_valid": lambda k: [k.AveragePooling2D(3, strides=1)],
    "pool_keepdims": lambda k: [k.GlobalAveragePooling2D(keepdims=True), k.Conv2D(8, 1), k.Flatten()],
    "relu_limit": lambda k: [k.Conv2D(8, 3), k.ReLU(max_value=0.5)],
    "relu_slope": lambda k: [k.Conv2D(8, 3), k.ReLU(negative_slope=0.1)],
    "leaky_relu": lambda k: [k.Conv2D(8, 3), k.LeakyReLU(0.2)],
    "elu": lambda k: [k.Conv2D(8, 3), k.ELU(0.7)],
    "prelu": lambda k: [k.Conv2D(8, 3), k.PReLU(shared_axes=[1, 2])],
    "prelu_whole": lambda k: [k.Conv2D(8, 3), k.PReLU()],
    "prelu_vector": lambda k: [k.Flatten(), k.Dense(6), k.PReLU()],
    "softmax_map": lambda k: [k.Conv2D(8, 3), k.Softmax()],
    "softmax_axis": lambda k: [k.Conv2D(8, 3), k.Softmax(axis=1)],
    "flatten_dense": lambda k: [k.Conv2D(5, 3), k.Flatten(), k.Dense(7, activation="relu")],
    "dense_map": lambda k: [k.Dense(5, activation="relu"), k.Conv2D(4, 3)],
    "reshape": lambda k: [k.Conv2D(6, 4), k.Reshape((7, -1, 6)), k.Conv2D(4, 3), k.Reshape((-1, 4))],
    "reshape_grey": lambda k: [k.Conv2D(1, 4), k.Reshape((7, -1, 1)), k.Conv2D(4, 3)],
    "permute": lambda k: [k.Permute((2, 1, 3)), k.Conv2D(4, 3), k.Permute((3, 1, 2)), k.Flatten()],
    "padding": lambda k: [k.ZeroPadding2D(((1, 2), (0, 3))), k.Conv2D(4, 3)],
    "cropping": lambda k: [k.Cropping2D(((1, 2), (0, 3))), k.Conv2D(4, 3)],
    "upsampling": lambda k: [k.UpSampling2D((2, 3)), k.Conv2D(4, 3)],
    "upsampling_bilinear": lambda k: [k.UpSampling2D(2, interpolation="bilinear"), k.Conv2D(4, 3)],
    "resizing": lambda k: [k.Resizing(7, 20), k.Conv2D(4, 3)],
    "resizing_nearest": lambda k: [k.Resizing(7, 20, interpolation="nearest"), k.Conv2D(4, 3)],
    "dropout": lambda k: [k.GaussianNoise(0.5), k.SpatialDropout2D(0.5), k.Flatten(), k.Dropout(0.5)],
    "augmentation": lambda k: [k.RandomFlip(), k.RandomRotation(0.2), k.RandomZoom(0.2), k.Conv2D(4, 3)],
}


@pytest.mark.parametrize("case", CASES)
def test_layer_answers_as_keras_does(case: str, keras: Any, same_answers: Callable[..., Any]) -> None:
    same_answers(classifier(keras, CASES[case](keras.layers)))


ACTIVATIONS = [
    "relu", "relu6", "sigmoid", "tanh", "silu", "swish", "hard_sigmoid", "hard_silu", "gelu", "elu", "selu",
    "leaky_relu", "softplus", "softsign", "exponential", "softmax", "log_softmax", "linear",
]  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_answers_as_keras_does(name: str, keras: Any, same_answers: Callable[..., Any]) -> None:
    layers = keras.layers
    same_answers(
        classifier(keras, [layers.Conv2D(8, 3, activation=name), layers.Conv2D(4, 3), layers.Activation(name)])
    )
