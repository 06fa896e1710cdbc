"""A small real network and small pictures, so that whole runs take seconds.

As a script it trains in the folder given, to be killed from outside: see test_resume.py.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from braintumor.bench.data.manifest import Split
from braintumor.bench.data.phantoms import phantoms
from braintumor.models.labels import CLASSES
from braintumor.training.data.dataset import Dataset
from braintumor.training.fit import learner
from braintumor.training.fit.checkpoint import Position, RunFolder
from braintumor.training.fit.train import train_model
from braintumor.training.recipe import Recipe

RECIPE = Recipe("DenseNet121", sizes=(32, 48), epochs=6, batch_size=16, seed=3, peak_learning_rate=1e-2, ema=0.9)


def build(spec: Any, *, height: int, width: int, weights: str | None = None, dropout: float = 0.3) -> Any:
    """As `braintumor.models.build.build_classifier`: a few thousand weights, with BatchNorm and Dropout."""
    import keras
    from keras import layers

    assert weights is None
    image = x = keras.Input((height, width, 1), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(x)
    for filters in (8, 16, 24):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
    x = layers.Flatten()(layers.AveragePooling2D(height // 16)(x))
    x = layers.Dropout(dropout)(x)
    x = layers.Dense(4, activation="softmax", dtype="float32")(x)
    return keras.Model(image, x, name=spec.name)


def marked_phantoms(count: int, size: int = 48, seed: int = 0) -> Dataset:
    """Phantoms with a bright square in the corner that names the class: something that can be learnt."""
    images = phantoms(count, size, size, seed=seed).copy()
    labels = np.arange(count) % len(CLASSES)
    quarter = size // 3
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        top, left = row * (size - quarter), column * (size - quarter)
        image[top : top + quarter, left : left + quarter] = 255
    return Dataset(images, labels.astype(np.int64), tuple(f"phantom-{seed}-{number}.png" for number in range(count)))


def small_parts() -> dict[Split, Dataset]:
    """Train, val and test of phantoms."""
    return {
        "train": marked_phantoms(96, seed=1),
        "val": marked_phantoms(24, seed=2),
        "test": marked_phantoms(24, seed=3),
    }


def run(folder: Path, **options: Any) -> Position:
    """Train the small network in `folder`, with a checkpoint after each step."""
    learner.build_classifier = build
    parts = small_parts()
    return train_model(RECIPE, parts, RunFolder(folder), checkpoint_every_s=0.0, **options)


if __name__ == "__main__":
    run(Path(sys.argv[1]), progress=lambda at: print(at.epoch, at.step, flush=True))
    print("done", flush=True)
