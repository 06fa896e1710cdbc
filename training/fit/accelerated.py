"""The training step on an accelerator: data, augmentation and many steps in one compiled JAX function."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from braintumor.models.build import build_classifier
from braintumor.models.catalog import model_spec
from braintumor.training.data.dataset import Dataset
from braintumor.training.data.targets import allowed_accuracy, allowed_cross_entropy, target_rows
from braintumor.training.fit.device_augmentation import augmented
from braintumor.training.fit.learner import Arrays
from braintumor.training.fit.schedule import one_cycle
from braintumor.training.keras_package import keras_module
from braintumor.training.recipe import Recipe

__all__ = ["Accelerated", "State"]

_CLIP_NORM = 1.0


@dataclass(slots=True)
class State:
    """All that a step changes, on the device.

    Attributes:
        trainable: Weights.
        fixed: BatchNorm statistics and the state of Dropout.
        optimizer: AdamW's variables.
        average: Moving average of `trainable`.
    """

    trainable: Any
    fixed: Any
    optimizer: Any
    average: Any

    def arrays(self) -> Arrays:
        """As NumPy arrays, in order."""
        return [np.asarray(item) for part in self.parts() for item in part]

    def parts(self) -> tuple[Any, Any, Any, Any]:
        """The four groups in order."""
        return self.trainable, self.fixed, self.optimizer, self.average

    def filled(self, values: Arrays) -> "State":
        """The same structure with other values."""
        source = iter(values)
        return State(*([next(source) for _ in part] for part in self.parts()))


class Accelerated:
    """A network on JAX with everything compiled.

    Args:
        recipe: Only `final_size` is used of its sizes; an `initial` file, `teachers` and `class_weights` are ignored.
        data: Training images at that size; they move to the device.
    """

    def __init__(self, recipe: Recipe, data: Dataset) -> None:
        import jax

        keras = keras_module()
        self._jax, self.recipe = jax, recipe
        keras.utils.set_random_seed(recipe.seed)
        keras.config.set_dtype_policy("float32" if recipe.precision == "float32" else "mixed_bfloat16")
        size = recipe.final_size
        weights = "imagenet" if recipe.initial == "imagenet" else None
        self.model = build_classifier(
            model_spec(recipe.model), height=size, width=size, weights=weights, dropout=recipe.dropout
        )
        for layer in self.model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = recipe.batchnorm_momentum
        self._optimizer = keras.optimizers.AdamW(1.0, weight_decay=recipe.weight_decay, global_clipnorm=_CLIP_NORM)
        self._optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        self._optimizer.build(self.model.trainable_variables)
        self._rate_index = next(
            number
            for number, item in enumerate(self._optimizer.variables)
            if item is self._optimizer._learning_rate  # noqa: SLF001 - Keras keeps the variable private
        )
        # An argument of the compiled functions: what they close over is compiled in as a constant.
        targets = target_rows(data.labels, recipe.label_smoothing)
        self._data = (jax.device_put(data.images), jax.device_put(targets))
        self._steps = jax.jit(self._scan, donate_argnums=0)
        self._answer = jax.jit(lambda tv, ntv, x: self.model.stateless_call(tv, ntv, x, training=False)[0])
        self._renew = jax.jit(self._renewed)
        self._loss, self._right = allowed_cross_entropy(keras), allowed_accuracy(keras)
        self.count = len(data)

    def initial_state(self) -> State:
        """Random (or ImageNet) weights, fresh optimizer."""
        copy = self._jax.numpy.array
        trainable = [copy(item.value) for item in self.model.trainable_variables]
        return State(
            trainable,
            [copy(item.value) for item in self.model.non_trainable_variables],
            [copy(item.value) for item in self._optimizer.variables],
            [copy(item) for item in trainable],
        )

    def run(self, state: State, first: int, steps: int, total: int) -> tuple[State, float, float]:
        """Do steps `first` to `first + steps` of `total`; return the state, mean loss and mean accuracy."""
        recipe = self.recipe
        numbers = np.arange(first, first + steps)
        index = np.stack([self._batch_of(int(number)) for number in numbers])
        rates = [
            one_cycle(number / total, peak=recipe.peak_learning_rate, warmup=recipe.warmup) for number in numbers
        ]
        new, (losses, right) = self._steps(state.parts(), self._data, index, np.array(rates, np.float32), numbers)
        return State(*new), float(losses.mean()), float(right.mean())

    def answers(self, state: State, images: np.ndarray, batch: int = 64) -> np.ndarray:
        """Probabilities float32 [n, 4] of the averaged weights for uint8 [n, size, size]."""
        parts = []
        for start in range(0, len(images), batch):
            chunk = images[start : start + batch]
            full = np.zeros((batch, *chunk.shape[1:], 1), np.float32)
            full[: len(chunk), ..., 0] = chunk
            parts.append(np.asarray(self._answer(state.average, state.fixed, full))[: len(chunk)])
        return np.concatenate(parts)

    def refreshed(self, state: State, batches: int) -> State:
        """BatchNorm statistics of the averaged weights, as the mean over training batches."""
        moving = [
            number
            for number, item in enumerate(self.model.non_trainable_variables)
            if item.path.endswith(("moving_mean", "moving_variance"))
        ]
        sums: list[Any] = [0.0] * len(moving)
        momentum = self.recipe.batchnorm_momentum
        for number in range(batches):
            fixed = self._renew(state.average, state.fixed, self._data[0], self._batch_of(number), number)
            # new = momentum * old + (1 - momentum) * batch, solved for the batch.
            for place, item in enumerate(moving):
                sums[place] = sums[place] + (fixed[item] - momentum * state.fixed[item]) / (1 - momentum)
        fixed = list(state.fixed)
        for place, item in enumerate(moving):
            fixed[item] = sums[place] / batches
        return State(state.trainable, fixed, state.optimizer, state.average)

    def weights(self, state: State) -> Arrays:
        """The averaged weights with the statistics, in the order of `model.weights`."""
        values = dict(zip([item.path for item in self.model.trainable_variables], state.average, strict=True))
        values |= dict(zip([item.path for item in self.model.non_trainable_variables], state.fixed, strict=True))
        return [np.asarray(values[item.path]) for item in self.model.weights]

    def _batch_of(self, step: int) -> np.ndarray:
        """Int [batch]: which images step number `step` takes."""
        recipe = self.recipe
        epoch, place = divmod(step, self.count // recipe.batch_size)
        order = np.random.default_rng([recipe.seed, epoch]).permutation(self.count)
        return order[place * recipe.batch_size : (place + 1) * recipe.batch_size]

    def _scan(self, parts: Any, data: Any, index: Any, rates: Any, numbers: Any) -> Any:
        def step(carry: Any, item: Any) -> Any:
            return self._step(carry, data, *item)

        return self._jax.lax.scan(step, parts, (index, rates, numbers))

    def _step(self, parts: Any, data: Any, index: Any, rate: Any, number: Any) -> Any:
        jax = self._jax
        trainable, fixed, optimizer, average = parts
        images, targets = self._inputs(data[0], index, number), data[1][index]

        def loss_of(values: Any) -> Any:
            probabilities, changed = self.model.stateless_call(values, fixed, images, training=True)
            return self._loss(targets, probabilities).mean(), (probabilities, changed)

        (loss, (probabilities, changed)), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable)
        optimizer = [rate if place == self._rate_index else item for place, item in enumerate(optimizer)]
        trainable, optimizer = self._optimizer.stateless_apply(optimizer, gradients, trainable)
        # A short memory at first, so that the random start is forgotten.
        keep = jax.numpy.minimum(self.recipe.ema, (1.0 + number) / (10.0 + number))
        average = [keep * old + (1 - keep) * new for old, new in zip(average, trainable, strict=True)]
        right = self._right(targets, probabilities).mean()
        return (list(trainable), list(changed), list(optimizer), average), (loss, right)

    def _renewed(self, trainable: Any, fixed: Any, images: Any, index: Any, number: Any) -> Any:
        return self.model.stateless_call(trainable, fixed, self._inputs(images, index, number), training=True)[1]

    def _inputs(self, images: Any, index: Any, number: Any) -> Any:
        key = self._jax.random.fold_in(self._jax.random.key(self.recipe.seed), number)
        return augmented(self._jax, images[index], self.recipe.augmentation, key)[..., None]
