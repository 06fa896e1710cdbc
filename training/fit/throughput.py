"""Throughput of the loop of `bt-train` against bare `train_on_batch` on one batch.

    python -m braintumor.training.fit.throughput --model DenseNet121 --size 128 --steps 30

Three figures, in images/s: bare steps on a batch that lies ready; the same steps fed by the training
loop's own batches (order, augmentation, transfer, learning rate, NaN check); and the augmentation alone on one
thread. Bare and fed steps alternate in blocks, so that a noisy machine is unfair to both. With
`--augmentation` the worker is compared with the same changes made by Keras layers.
"""

import argparse
import json
import statistics
import time

import numpy as np

from braintumor.bench.data.phantoms import phantoms
from braintumor.models.catalog import CATALOG
from braintumor.training.data.augment import augment_batch
from braintumor.training.data.data_loader import epoch_batches
from braintumor.training.data.dataset import Dataset
from braintumor.training.fit.learner import Learner
from braintumor.training.fit.schedule import one_cycle
from braintumor.training.keras_package import keras_module
from braintumor.training.recipe import Recipe

__all__ = ["keras_augmentation", "main", "measure"]

_BLOCK = 5


def measure(recipe: Recipe, steps: int) -> dict[str, float]:
    """Measure images/s of bare and fed steps, and their ratio."""
    size, batch = recipe.final_size, recipe.batch_size
    images = phantoms(batch * (steps + 2), size, size)
    labels = np.arange(len(images)) % 4
    data = Dataset(images, labels, tuple(str(number) for number in range(len(images))))
    learner = Learner(recipe, size)
    batches = epoch_batches(data, recipe.augmentation, batch_size=batch, seed=0, epoch=0)
    ready = next(batches)
    for _ in range(2):  # compile
        learner.step(ready, 1e-4)
    bare: list[float] = []
    fed: list[float] = []
    for start in range(0, steps, _BLOCK):
        count = min(_BLOCK, steps - start)
        start_s = time.perf_counter()
        for _ in range(count):
            learner.model.train_on_batch(ready.images, ready.targets, ready.sample_weights)
        middle = time.perf_counter()
        for number in range(count):
            rate = one_cycle((start + number) / steps, peak=1e-4, warmup=0.1)
            learner.step(next(batches), rate)
        bare.append(batch * count / (middle - start_s))
        fed.append(batch * count / (time.perf_counter() - middle))
    start_s = time.perf_counter()
    augment_batch(images[:batch], recipe.augmentation, np.random.default_rng(0))
    alone = batch / (time.perf_counter() - start_s)
    ratios = [fed_rate / bare_rate for fed_rate, bare_rate in zip(fed, bare, strict=True)]
    return {
        "bare_images_per_s": statistics.median(bare),
        "fed_images_per_s": statistics.median(fed),
        "ratio_median": statistics.median(ratios),
        "ratio_min": min(ratios),
        "augmentation_images_per_s": alone,
    }


def keras_augmentation(recipe: Recipe) -> float:
    """Measure images/s of the same changes by Keras layers, for comparison."""
    keras = keras_module()
    options, size = recipe.augmentation, recipe.final_size
    turn = options.rotation_deg / 360
    layers = keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomRotation(turn, fill_mode="constant"),
            keras.layers.RandomZoom(options.zoom, fill_mode="constant"),
            keras.layers.RandomTranslation(options.shift, options.shift, fill_mode="constant"),
            keras.layers.RandomContrast(options.contrast),
        ]
    )
    images = phantoms(recipe.batch_size, size, size)[..., None].astype(np.float32)
    layers(images, training=True)
    speeds = []
    for _ in range(5):
        start_s = time.perf_counter()
        keras.ops.convert_to_numpy(layers(images, training=True))
        speeds.append(len(images) / (time.perf_counter() - start_s))
    return statistics.median(speeds)


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=list(CATALOG), default="DenseNet121")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--augmentation", action="store_true", help="compare with Keras layers too")
    options = parser.parse_args()
    recipe = Recipe(options.model, sizes=(options.size,), batch_size=options.batch_size)
    figures = {"model": options.model, "size_px": options.size, **measure(recipe, options.steps)}
    if options.augmentation:
        figures["keras_layers_images_per_s"] = keras_augmentation(recipe)
    print(json.dumps(figures, indent=1))  # noqa: T201 - a script's answer


if __name__ == "__main__":
    main()
