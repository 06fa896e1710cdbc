"""From the best epoch's arrays to a `.keras` file and its predictions."""

import contextlib
import json
from pathlib import Path
from typing import Any

from braintumor.bench.data.manifest import Split
from braintumor.bench.metrics.classification import cross_entropy
from braintumor.errors import OutputError, UsageError
from braintumor.training.data.data_loader import epoch_batches
from braintumor.training.data.dataset import Dataset
from braintumor.training.data.predictions import predictions_csv
from braintumor.training.data.targets import allowed
from braintumor.training.fit.checkpoint import RunFolder
from braintumor.training.fit.learner import Arrays, Learner
from braintumor.training.fit.train import learning_images
from braintumor.training.keras_io import predict_parts, save_keras_file
from braintumor.training.keras_package import array_of
from braintumor.training.recipe import Recipe

__all__ = ["finalize_run", "refreshed", "save_model"]


def finalize_run(recipe: Recipe, parts: dict[Split, Dataset], folder: RunFolder) -> Path:
    """Write `<model>.keras`, `predictions.csv` and `result.json` from the best epoch.

    BatchNorm's statistics are estimated afresh over training images first; whichever of the two versions has
    the lower validation loss is saved, and `result.json` says which.

    Raises:
        UsageError: The run has no complete epoch at its final size yet.
        OutputError: A file cannot be written.
    """
    best = folder.load_best()
    if best is None:
        raise UsageError(f"{folder.path} has no epoch at {recipe.final_size} px yet", "give the run more time")
    learner = Learner(recipe, recipe.final_size)
    val = parts["val"].resized(recipe.final_size, recipe.crop)
    learner.assign_weights(best)
    losses = {"as trained": _loss(learner, val)}
    version = "as trained"
    if recipe.batchnorm_refresh:
        fresh = refreshed(learner, recipe, learning_images(recipe, parts))
        learner.assign_weights(fresh)
        losses["batchnorm refreshed"] = _loss(learner, val)
        if losses["batchnorm refreshed"] < losses["as trained"]:
            best, version = fresh, "batchnorm refreshed"
    path = folder.path / f"{recipe.model}.keras"
    # The saved model is evaluated: float32, whatever the run computed in.
    probabilities = predict_parts(save_model(recipe, best, path), parts, recipe.crop)
    folder.write_text("predictions.csv", predictions_csv(parts, probabilities))
    result = {"kept": version, "val_loss": losses} | {
        f"{split}_accuracy": float(allowed(values.astype(float), parts[split].labels).mean())
        for split, values in probabilities.items()
    }
    folder.write_text("result.json", json.dumps(result, indent=1))
    return path


def refreshed(learner: Learner, recipe: Recipe, data: Dataset) -> Arrays:
    """Return the learner's weights with BatchNorm statistics averaged over `batchnorm_refresh` augmented batches."""
    layers = [layer for layer in learner.model.layers if hasattr(layer, "moving_variance")]
    if not layers:
        return _as_set(learner)
    momenta = [layer.momentum for layer in layers]
    sums: list[list[Any]] = [[0.0, 0.0] for _ in layers]
    count = 0
    try:
        for layer in layers:
            layer.momentum = 0.0  # moving statistics become those of the last batch
        batches = epoch_batches(
            data,
            recipe.augmentation,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            epoch=1_000_000,
            size=recipe.final_size,
        )
        for batch in batches:
            learner.model(batch.images, training=True)
            for total, layer in zip(sums, layers, strict=True):
                total[0] = total[0] + array_of(layer.moving_mean)
                total[1] = total[1] + array_of(layer.moving_variance)
            count += 1
            if count == recipe.batchnorm_refresh:
                break
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    for (mean, variance), layer in zip(sums, layers, strict=True):
        layer.moving_mean.assign(mean / count)
        layer.moving_variance.assign(variance / count)
    return _as_set(learner)


def _as_set(learner: Learner) -> Arrays:
    """Read back the assigned weights: the optimizer has no average of them before its first step."""
    return [array_of(item) for item in learner.model.weights]


def save_model(recipe: Recipe, weights: Arrays, path: Path) -> Any:
    """Write a float32 `.keras` file, whole or not at all, and return its model.

    Raises:
        OutputError: It cannot be written.
    """
    plain = Learner.inference_model(recipe)
    plain.set_weights(weights)
    temporary = path.with_name(f"part-{path.name}")
    try:
        save_keras_file(plain, temporary, recipe.crop)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error}; the best weights are kept beside it",
            "make room and run the same command again",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return plain


def _loss(learner: Learner, data: Dataset) -> float:
    return cross_entropy(learner.predict(data.images).astype(float), data.labels)
