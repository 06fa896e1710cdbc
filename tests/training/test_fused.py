"""The fused layers compute what Keras's own compute."""

import keras
import numpy as np
import pytest

from braintumor.training.fit.fused import fuse_batchnorm, fuse_silu


def _network(*, scale: bool) -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(6, 3)(image)
    x = keras.layers.BatchNormalization(scale=scale, momentum=0.8)(x)
    x = keras.layers.Activation("swish")(x)
    return keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(x)))


@pytest.mark.parametrize("scale", [True, False])
def test_fuse_gives_the_same_weights_and_statistics(scale: bool) -> None:
    if keras.backend.backend() != "tensorflow":
        pytest.skip("TensorFlow's kernel")
    rng = np.random.default_rng(0)
    images, targets = rng.normal(3, 2, (4, 16, 8, 8, 3)).astype(np.float32), rng.normal(size=(16, 2))
    results = []
    for fused in (False, True):
        model = _network(scale=scale)
        if fused:
            assert (fuse_batchnorm(model), fuse_silu(model)) == (1, 1)
        model.compile(keras.optimizers.SGD(0.05), loss="mse", jit_compile=False)
        for batch in images:
            model.train_on_batch(batch, targets)
        results.append((
            [np.asarray(item) for item in model.weights],
            model.predict_on_batch(images[0]),
        ))  # fmt: skip
    (plain, plain_answer), (fused_weights, fused_answer) = results
    for weight, other in zip(plain, fused_weights, strict=True):
        assert np.allclose(weight, other, atol=2e-4)
    assert np.allclose(plain_answer, fused_answer, atol=2e-3)
