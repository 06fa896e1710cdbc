"""A compiled Keras model at one image size, and its state as plain arrays."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import ModelError
from braintumor.models.build import build_classifier
from braintumor.models.catalog import model_spec
from braintumor.training.data.data_loader import Batch
from braintumor.training.data.targets import allowed_accuracy, allowed_cross_entropy
from braintumor.training.fit.distill import Teachers
from braintumor.training.fit.fused import fuse
from braintumor.training.fit.precision import compute_policy, jit_setting
from braintumor.training.keras_io import load_keras_file
from braintumor.training.keras_package import array_of, keras_module
from braintumor.training.recipe import Recipe

__all__ = ["Arrays", "Learner", "StepResult"]

Arrays = list[np.ndarray]
"""Values of variables, in the order that Keras lists them."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """Loss and accuracy of one step.

    Attributes:
        loss: Mean loss of the batch, with label smoothing and class weights.
        accuracy: Part of the batch that was decided right before the step, 0 to 1.
    """

    loss: float
    accuracy: float


class Learner:
    """The network, its optimizer and the loss, compiled for images of size x size pixels."""

    def __init__(self, recipe: Recipe, size: int) -> None:
        keras = keras_module()
        self.size = size
        self._recipe = recipe
        self.model = _build(keras, recipe, size, compute_policy(keras, recipe.precision))
        fuse(self.model)
        self.optimizer = keras.optimizers.AdamW(
            learning_rate=float(recipe.peak_learning_rate),
            weight_decay=recipe.weight_decay,
            use_ema=recipe.ema > 0,
            ema_momentum=recipe.ema or 0.99,
            clipnorm=None,
            global_clipnorm=1.0,
        )
        # Gains and biases do not decay: BatchNorm's scale would be pulled to zero for nothing.
        self.optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        self.model.compile(
            self.optimizer,
            loss=allowed_cross_entropy(keras),
            weighted_metrics=[],
            metrics=[allowed_accuracy(keras)],
            jit_compile=jit_setting(keras),
        )
        self.optimizer.build(self.model.trainable_variables)
        self._teachers = (
            Teachers(recipe.teachers, size, recipe.crop, recipe.distillation) if recipe.teachers else None
        )

    def step(self, batch: Batch, learning_rate: float) -> StepResult:
        """Do one gradient step."""
        self.optimizer.learning_rate.assign(learning_rate)
        targets = self._teachers.soften(batch.images, batch.targets) if self._teachers else batch.targets
        logs = self.model.train_on_batch(batch.images, targets, batch.sample_weights, return_dict=True)
        return StepResult(loss=float(logs["loss"]), accuracy=float(logs["accuracy"]))

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Predict uint8 [n, size, size]: probabilities float32 [n, 4].

        Batches are all of the recipe's size (the last one is filled up): a new shape would be compiled anew.
        """
        count, size = len(images), self._recipe.batch_size
        parts = []
        for start in range(0, count, size):
            chunk = images[start : start + size]
            padding = np.zeros((size - len(chunk), *chunk.shape[1:]), chunk.dtype)
            full = np.concatenate([chunk, padding])[..., None].astype(np.float32)
            parts.append(np.asarray(self.model.predict_on_batch(full))[: len(chunk)])
        return np.concatenate(parts)

    def state(self) -> Arrays:
        """Copy all that the next step depends on: weights, random state, optimizer."""
        return [array_of(item) for item in (*self.model.variables, *self.optimizer.variables)]

    def restore(self, values: Arrays) -> None:
        """Take over a state, also one from another image size.

        Raises:
            ModelError: It belongs to another network.
        """
        variables = (*self.model.variables, *self.optimizer.variables)
        shapes = [tuple(item.shape) for item in variables]
        if shapes != [value.shape for value in values]:
            raise ModelError(f"the saved state does not fit {self._recipe.model}", "start again with `restart`")
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    def weights(self) -> Arrays:
        """Copy the weights to evaluate and save: the moving average where the recipe has one."""
        values = {id(item): array_of(item) for item in self.model.weights}
        if self._recipe.ema:
            averages = self.optimizer._model_variables_moving_average  # noqa: SLF001 - Keras has no reader for it
            for variable, average in zip(self.model.trainable_variables, averages, strict=True):
                values[id(variable)] = array_of(average)
        return list(values.values())

    @staticmethod
    def inference_model(recipe: Recipe) -> Any:
        """Build the network to save: float32, at the final size, without optimizer."""
        spec, size = model_spec(recipe.model), recipe.final_size
        return build_classifier(spec, height=size, width=size, weights=None, dropout=recipe.dropout)

    def assign_weights(self, values: Arrays) -> None:
        """Set the weights, not the optimizer."""
        for variable, value in zip(self.model.weights, values, strict=True):
            variable.assign(value)


def _build(keras: Any, recipe: Recipe, size: int, policy: str) -> Any:
    spec = model_spec(recipe.model)
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        weights = "imagenet" if recipe.initial == "imagenet" else None
        model = build_classifier(spec, height=size, width=size, weights=weights, dropout=recipe.dropout)
    finally:
        keras.config.set_dtype_policy(previous)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = recipe.batchnorm_momentum
    if recipe.initial not in {None, "imagenet"}:
        _start_from(model, Path(str(recipe.initial)))
    return model


def _start_from(model: Any, path: Path) -> None:
    values = load_keras_file(path).get_weights()
    if [value.shape for value in values] != [tuple(item.shape) for item in model.weights]:
        raise ModelError(
            f"{path} has {len(values)} weights of other shapes than {model.name} ({len(model.weights)})",
            f"choose as `initial` a file of {model.name}, or grow a smaller one of its family with bt-train grow",
        )
    model.set_weights(values)
