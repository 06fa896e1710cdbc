"""Stability of an ensemble under other batches and runs, and robustness to small changes of the images.

A label that changes with the batch or the run is a defect of the engine. A label that changes under JPEG compression,
a shift by one pixel, a tenth less contrast, another resize method or another sharpness is close to a decision border
of the network: the reference shows the same.
"""

import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from braintumor.bench.accuracy.predict import ensemble_vote, predict
from braintumor.bench.data.labelled import LabelledImages
from braintumor.bench.metrics.classification import predicted_labels
from braintumor.bench.metrics.intervals import Share
from braintumor.runtime.ensemble import Ensemble

__all__ = [
    "BATCH_SIZES",
    "PERTURBATIONS",
    "RUNS",
    "STABILITY_IMAGES",
    "PerturbationResult",
    "Robustness",
    "Stability",
    "robustness",
    "stability",
]

BATCH_SIZES: Final = (1, 7, 32)
"""Batch sizes of the check: a single image, an odd size, and a full batch. Some faults show at one of them only."""

RUNS: Final = 5
"""Runs with the same batch."""

STABILITY_IMAGES: Final = 32
"""The most images of the check."""

_CONTRAST: Final = 0.9

Tick = Callable[[int], object]
Perturbation = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""uint8 [height, width] to uint8 of that or of another size."""


@dataclass(frozen=True, slots=True)
class Stability:
    """Predictions of the same images in different batches and runs.

    Attributes:
        images: Number of images.
        batch_sizes: Batch sizes, each in the order of the images and in reverse.
        max_abs_difference_batches: max |Δp| of the vote between any two of these; None if one is not finite.
        labels_differing_batches: Images whose label depends on the batch.
        runs: Number of runs with the same batch.
        max_abs_difference_runs: max |Δp| of the vote between any two runs; 0 means bitwise equal.
        labels_differing_runs: Images whose label depends on the run.
        inference_s: Seconds within the members.
    """

    images: int
    batch_sizes: tuple[int, ...]
    max_abs_difference_batches: float | None
    labels_differing_batches: int
    runs: int
    max_abs_difference_runs: float | None
    labels_differing_runs: int
    inference_s: float


@dataclass(frozen=True, slots=True)
class PerturbationResult:
    """The effect of one small change of the images.

    Attributes:
        flips: Images whose label changes.
        correct: Images whose label is right after the change.
    """

    flips: Share
    correct: Share


@dataclass(frozen=True, slots=True)
class Robustness:
    """Predictions of slightly changed images beside those of the unchanged images.

    Attributes:
        images: Number of images, drawn evenly over the classes.
        perturbations: Name → its effect.
        inference_s: Seconds within the members.
    """

    images: int
    perturbations: Mapping[str, PerturbationResult]
    inference_s: float


def stability(ensemble: Ensemble, images: LabelledImages, tick: Tick) -> Stability:
    """Run up to 32 of the images in batches of several sizes, and five times in the same batch.

    Raises:
        InputError: An image cannot be read.
    """
    sample = images.stratified(min(STABILITY_IMAGES, len(images)))
    pixels = {geometry: sample.resized(geometry) for geometry in ensemble.geometries}
    inference_s = 0.0

    def vote(order: NDArray[np.int64], batch_size: int) -> NDArray[np.float32]:
        nonlocal inference_s
        members = []
        for start in range(0, len(order), batch_size):
            indices = order[start : start + batch_size]
            batch = {geometry: images[indices] for geometry, images in pixels.items()}
            start_s = time.perf_counter()
            members.append(ensemble.probabilities(batch))
            inference_s += time.perf_counter() - start_s
            tick(len(indices))
        votes = np.empty((len(order), len(images.classes)), np.float32)
        votes[order] = ensemble_vote(ensemble.bundle, np.concatenate(members, axis=1))
        return votes

    forwards = np.arange(len(sample))
    batches = [vote(forwards, 1)]
    for size in BATCH_SIZES[1:]:
        # Only whole batches are reversed: both orders are then cut at the same places.
        whole = len(sample) // size * size or len(sample)
        backwards = np.concatenate([forwards[:whole][::-1], forwards[whole:]])
        batches += [vote(forwards, size), vote(backwards, size)]
    runs = [vote(forwards, len(sample)) for _ in range(RUNS)]
    return Stability(
        images=len(sample),
        batch_sizes=BATCH_SIZES,
        max_abs_difference_batches=_max_abs_difference(batches),
        labels_differing_batches=_labels_differing(batches),
        runs=RUNS,
        max_abs_difference_runs=_max_abs_difference(runs),
        labels_differing_runs=_labels_differing(runs),
        inference_s=inference_s,
    )


def _max_abs_difference(votes: Sequence[NDArray[np.float32]]) -> float | None:
    difference = float(np.ptp(np.stack(votes), axis=0).max())
    return difference if np.isfinite(difference) else None


def _labels_differing(votes: Sequence[NDArray[np.float32]]) -> int:
    labels = np.stack([predicted_labels(vote) for vote in votes])
    return int((labels != labels[0]).any(axis=0).sum())


def _jpeg(quality: int) -> Perturbation:
    def compress(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
        return np.asarray(Image.open(stream))

    return compress


def _resized(longer_side: int, kernel: Image.Resampling) -> Perturbation:
    def resize(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize the image and keep its proportions, as another program may do."""
        height, width = pixels.shape
        scale = longer_side / max(height, width)
        return np.asarray(Image.fromarray(pixels).resize((round(width * scale), round(height * scale)), kernel))

    return resize


def _through(longer_side: int) -> Perturbation:
    reduce = _resized(longer_side, Image.Resampling.BILINEAR)

    def blur(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Reduce the image and enlarge it again."""
        return np.asarray(Image.fromarray(reduce(pixels)).resize(pixels.shape[::-1], Image.Resampling.BILINEAR))

    return blur


def _gamma(exponent: float) -> Perturbation:
    levels = np.rint(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
    return lambda pixels: levels[pixels]


def _shifted(down: int, right: int) -> Perturbation:
    def shift(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Move the image; the border is repeated."""
        height, width = pixels.shape
        rows = np.clip(np.arange(height) - down, 0, height - 1)
        columns = np.clip(np.arange(width) - right, 0, width - 1)
        return np.ascontiguousarray(pixels[np.ix_(rows, columns)])

    return shift


def _fainter(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(ImageEnhance.Contrast(Image.fromarray(pixels)).enhance(_CONTRAST))


PERTURBATIONS: Final[Mapping[str, Perturbation]] = MappingProxyType(
    {
        "JPEG quality 75": _jpeg(75),
        "one pixel down and right": _shifted(1, 1),
        "one pixel up and left": _shifted(-1, -1),
        "90 % contrast": _fainter,
        "JPEG quality 50": _jpeg(50),
        "128 px by Lanczos": _resized(128, Image.Resampling.LANCZOS),
        "128 px by nearest": _resized(128, Image.Resampling.NEAREST),
        "through 96 px": _through(96),
        "gamma 0.7": _gamma(0.7),
        "gamma 1.4": _gamma(1.4),
    }
)
"""Name → change of the image as it is in its file, before it is resized to the model's input."""


def robustness(ensemble: Ensemble, images: LabelledImages, count: int, batch_size: int, tick: Tick) -> Robustness:
    """Perturb some of the images and compare the labels.

    Args:
        ensemble: A loaded ensemble.
        images: Labelled images, of which `count`, or all if there are fewer, are taken.
        count: At least 1.
        batch_size: Images in a batch.
        tick: Is called with the number of images that are done.

    Raises:
        InputError: An image cannot be read.
    """
    sample = images.stratified(min(count, len(images)))
    unchanged = predict(ensemble, sample, batch_size, tick)
    before, inference_s = predicted_labels(unchanged.vote), unchanged.inference_s
    results = {}
    for name, perturb in PERTURBATIONS.items():
        changed = predict(ensemble, replace(sample, change=perturb), batch_size, tick)
        after = predicted_labels(changed.vote)
        inference_s += changed.inference_s
        results[name] = PerturbationResult(
            flips=Share.of(int((after != before).sum()), len(sample)),
            correct=Share.of(int((after == sample.labels).sum()), len(sample)),
        )
    return Robustness(len(sample), results, inference_s)
