"""Small Keras classifiers, built and decided without training. Keras is imported when one is built."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.data.phantoms import phantoms

GREY_LEVELS = (30, 90, 150, 210)


def small_classifier(
    size: tuple[int | None, int | None], channels: int, scaling: bool, head: str, classes: int, seed: int
) -> Any:
    """Convolution + BatchNorm + SiLU, a squeeze-excite block, a pre-activation BatchNorm as in DenseNet, a head."""
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(seed)
    image = keras.Input((*size, channels), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(image) if scaling else image
    if channels == 1:
        x = layers.Concatenate()([x, x, x])
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.Activation("swish")(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = layers.Activation("swish")(layers.BatchNormalization()(x))
    squeezed = layers.Reshape((1, 1, 16))(layers.GlobalAveragePooling2D()(x))
    squeezed = layers.Conv2D(4, 1, activation="swish")(squeezed)
    x = layers.Multiply()([x, layers.Conv2D(16, 1, activation="sigmoid")(squeezed)])
    dense = layers.Conv2D(16, 3, padding="same")(layers.Activation("relu")(layers.BatchNormalization()(x)))
    x = layers.Concatenate()([x, dense])
    x = layers.GlobalAveragePooling2D()(layers.Activation("relu")(layers.BatchNormalization()(x)))
    activation = None if head == "logits" else head
    model = keras.Model(image, layers.Dense(classes, activation=activation, name="answer")(x), name="small")
    _decide(model, seed, scaling)
    return model


def _decide(model: Any, seed: int, scaling: bool) -> None:
    """Give BatchNorms trained-looking statistics and the head enough contrast to tell phantoms apart."""
    import keras

    rng = np.random.default_rng(seed)
    size = tuple(side or 32 for side in model.inputs[0].shape[1:3])
    images = np.repeat(phantoms(64, *size)[..., np.newaxis], model.inputs[0].shape[-1], axis=-1).astype(np.float32)
    seen = images if scaling else images / 127.5 - 1
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in norms:
        shape = layer.gamma.shape
        layer.momentum = 0.0
        layer.gamma.assign(rng.uniform(0.5, 1.5, shape))
        layer.beta.assign(rng.normal(0, 0.3, shape))
    # With momentum 0 a pass in training mode leaves the phantoms' own statistics behind. A network whose layers
    # shrink the signal would need a huge head, which makes rounding errors visible that no trained network shows.
    model(seen, training=True)
    for layer in norms:
        layer.momentum = 0.99
    features = keras.Model(model.input, model.layers[-2].output)(seen)
    spread: NDArray[np.float32] = np.asarray(features)
    # Along the features' main directions, for the same reason.
    directions = np.linalg.svd(spread - spread.mean(axis=0), full_matrices=False)[2]
    kernel = directions[:4].T @ rng.normal(size=(4, model.outputs[0].shape[-1]))
    logits = spread @ kernel
    kernel *= 3.0 / logits.std(axis=0)
    bias = -(spread @ kernel).mean(axis=0)
    model.get_layer("answer").set_weights([kernel, bias])


def grey_level_classifier(*, levels: Sequence[int] = GREY_LEVELS, head: str = "softmax", channels: int = 3) -> Any:
    """A classifier of x/255 that tells images by their mean: that of output i is nearest to level i."""
    import keras

    layers = keras.layers
    image = keras.Input((32, 32, channels))
    answer = layers.Dense(len(levels), activation=None if head == "logits" else head)
    model = keras.Model(image, answer(layers.GlobalAveragePooling2D()(image)))
    # The nearest level wins: -s (x - k)^2 without what all have, which would only cost digits.
    near = np.array(levels) / 255
    sharpness = 2.5 / (near[1] - near[0]) ** 2
    kernel, bias = 2 * sharpness * near, -sharpness * near**2
    kernel = np.repeat(((kernel - kernel.mean()) / channels)[np.newaxis], channels, 0)
    answer.set_weights([kernel.astype(np.float32), (bias - bias.mean()).astype(np.float32)])
    return model
