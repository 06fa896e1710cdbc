"""Operations of `keras.ops` and merging layers against Keras: what arithmetic on tensors leaves in a model."""

from collections.abc import Callable
from typing import Any

import pytest

Check = Callable[..., Any]


def model(keras: Any, operation: Callable[[Any, Any], Any]) -> Any:
    """A model with an operation of (keras, a map [batch, 9, 12, 6] of mixed signs) in its middle."""
    keras.utils.set_random_seed(3)
    image = keras.Input((19, 25, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    x = operation(keras, keras.layers.Conv2D(6, 3, strides=2, bias_initializer="random_normal")(x))
    return keras.Model(image, keras.layers.Dense(4, activation="softmax")(keras.layers.Flatten()(x)))


CASES: dict[str, Callable[[Any, Any], Any]] = {
    "arithmetic": lambda _, x: (x * 2 - 0.5) / 3 + x**2 - (-x),
    "constant_first": lambda k, x: 1 / (2.5 + k.ops.abs(x)),
    "channel_constants": lambda k, x: x * k.ops.convert_to_tensor([1.0, 2.0, 3.0, -1.0, 0.5, 0.1]),
    "squares_and_roots": lambda k, x: k.ops.sqrt(k.ops.square(x) + 1) + k.ops.rsqrt(k.ops.exp(x)),
    "logarithm": lambda k, x: k.ops.log(1 + k.ops.relu(x)) + k.ops.log1p(k.ops.relu(x)),
    "clip": lambda k, x: k.ops.clip(x, -0.2, 0.3),
    "maximum": lambda k, x: k.ops.maximum(x, 0.1) + k.ops.minimum(x, -x),
    "mean_map": lambda k, x: k.ops.mean(x, axis=(1, 2)),
    "mean_keepdims": lambda k, x: x * k.ops.mean(x, axis=[1, 2], keepdims=True),
    "max_channels": lambda k, x: k.ops.max(x, axis=-1, keepdims=True) * x,
    "sum_rows": lambda k, x: k.ops.sum(x, axis=1),
    "slice": lambda _, x: x[:, 1:-1, ::2, 2:],
    "reversed_channels": lambda _, x: x[..., ::-1],
    "one_channel": lambda _, x: x[..., 1],
    "new_axis": lambda _, x: x[:, None, :, 2],
    "split": lambda k, x: k.ops.multiply(*k.ops.split(x, 2, axis=-1)),
    "split_at": lambda k, x: k.ops.split(x, [1, 4], axis=-1)[1],
    "flip": lambda k, x: k.ops.flip(x, axis=2),
    "transpose": lambda k, x: k.ops.transpose(x, (0, 2, 1, 3)),
    "reshape": lambda k, x: k.ops.reshape(x, (-1, 108, 6)),
    "expand_squeeze": lambda k, x: k.ops.squeeze(k.ops.expand_dims(x, 1), 1),
    "concatenate_rows": lambda k, x: k.layers.Concatenate(axis=1)([x, x * 2]),
    "stack": lambda k, x: k.ops.stack([x, x + 1], axis=1),
    "activations": lambda k, x: k.ops.silu(x) + k.ops.gelu(x) + k.ops.sigmoid(x) + k.ops.tanh(x) + k.ops.relu6(x),
    "softmax": lambda k, x: k.ops.softmax(x, axis=-1),
    "merging": lambda k, x: k.layers.Average()([x, k.layers.Maximum()([x, -x]), k.layers.Minimum()([x, x * 2])]),
    "subtract": lambda k, x: k.layers.Subtract()([x, k.layers.Multiply()([x, x])]),
    "transposed": lambda k, x: k.layers.Conv2DTranspose(5, 3, strides=2, padding="same", activation="relu")(x),
    "transposed_valid": lambda k, x: k.layers.Conv2DTranspose(5, (2, 3), strides=(1, 2))(x),
    "nested": lambda k, x: k.Sequential([k.layers.Conv2D(5, 1), k.layers.ReLU()])(x),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_operation_answers_as_keras_does(case: str, same_answers: Check) -> None:
    import keras

    same_answers(model(keras, CASES[case]))


def test_shared_layer_answers_as_keras_does(same_answers: Check) -> None:
    import keras

    shared = keras.layers.Conv2D(6, 3, padding="same", activation="silu")
    same_answers(model(keras, lambda _, x: shared(shared(x))))
