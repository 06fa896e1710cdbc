"""What an ensemble must not depend on: the batch that an image comes in, the run, and what no reader would notice.

A decision that changes with the batch or the run is a defect of the engine. One that changes under JPEG, a shift by
one pixel, a tenth less contrast, another program's way to resize or another sharpness shows how close to its border
the network decides: the reference shows the same.
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

from braintumor.bench.accuracy.predict import ask, vote_of
from braintumor.bench.data.labelled import LabelledImages
from braintumor.bench.metrics.classification import decided
from braintumor.bench.metrics.intervals import Share
from braintumor.runtime.ensemble import Ensemble

__all__ = ["BATCH_SIZES", "PERTURBATIONS", "RUNS", "Perturbed", "Robustness", "Stability", "robustness", "stability"]

BATCH_SIZES: Final = (1, 7, 32)
"""Alone, a size that divides nothing, and a full batch: some faults show at one of them only."""

RUNS: Final = 5

_IMAGES: Final = 32
_CONTRAST: Final = 0.9

Tick = Callable[[int], object]
Perturbation = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""uint8 [height, width] to uint8 of that or of another size."""


@dataclass(frozen=True, slots=True)
class Stability:
    """The same images, asked again and again.

    Attributes:
        images: How many.
        batch_sizes: In which they were asked, in order and turned round, so that the first was the last, too.
        max_abs_difference_batches: max |Δp| of the vote between any two of these ways; None where one is not finite.
        labels_differing_batches: Images whose label depends on the batch.
        runs: How often they were asked in the same batch.
        max_abs_difference_runs: max |Δp| of the vote between any two runs; 0 is bitwise the same.
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
class Perturbed:
    """What one small change of the images does.

    Attributes:
        flips: Images whose label changes.
        correct: Images decided right in spite of it.
    """

    flips: Share
    correct: Share


@dataclass(frozen=True, slots=True)
class Robustness:
    """Slightly changed images, against the same ensemble's answers to the unchanged ones.

    Attributes:
        images: How many, drawn evenly over the classes.
        perturbations: Name → what it does.
        inference_s: Seconds within the members.
    """

    images: int
    perturbations: Mapping[str, Perturbed]
    inference_s: float


def stability(ensemble: Ensemble, images: LabelledImages, tick: Tick) -> Stability:
    """Ask about up to 32 of the images in different company, and five times in the same.

    Raises:
        InputError: An image cannot be read.
    """
    few = images.stratified(min(_IMAGES, len(images)))
    batch = {geometry: few.sized(geometry) for geometry in ensemble.geometries}

    inference_s = 0.0

    def answers(order: NDArray[np.int64], size: int) -> NDArray[np.float32]:
        nonlocal inference_s
        parts = []
        for start in range(0, len(order), size):
            at = order[start : start + size]
            asked = {shape: pixels[at] for shape, pixels in batch.items()}
            start_s = time.perf_counter()
            parts.append(ensemble.probabilities(asked))
            inference_s += time.perf_counter() - start_s
            tick(len(at))
        found = np.empty((len(order), len(images.classes)), np.float32)
        found[order] = vote_of(ensemble.bundle, np.concatenate(parts, axis=1))
        return found

    forwards = np.arange(len(few))
    # Both ways are cut at the same places, so that each batch is turned round.
    ways = [answers(forwards, 1)]
    for size in BATCH_SIZES[1:]:
        whole = len(few) // size * size or len(few)
        turned = np.concatenate([forwards[:whole][::-1], forwards[whole:]])
        ways += [answers(forwards, size), answers(turned, size)]
    runs = [answers(forwards, len(few)) for _ in range(RUNS)]
    return Stability(
        len(few), BATCH_SIZES, _spread(ways), _differing(ways), RUNS, _spread(runs), _differing(runs), inference_s
    )


def _spread(answers: Sequence[NDArray[np.float32]]) -> float | None:
    spread = float(np.ptp(np.stack(answers), axis=0).max())
    return spread if np.isfinite(spread) else None


def _differing(answers: Sequence[NDArray[np.float32]]) -> int:
    labels = np.stack([decided(one) for one in answers])
    return int((labels != labels[0]).any(axis=0).sum())


def _jpeg(quality: int) -> Perturbation:
    def compress(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
        return np.asarray(Image.open(stream))

    return compress


def _resized(longer_side: int, kernel: Image.Resampling) -> Perturbation:
    def resize(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Bring the image to another size, proportions kept, as it may come from another program."""
        height, width = pixels.shape
        scale = longer_side / max(height, width)
        return np.asarray(Image.fromarray(pixels).resize((round(width * scale), round(height * scale)), kernel))

    return resize


def _through(longer_side: int) -> Perturbation:
    reduce = _resized(longer_side, Image.Resampling.BILINEAR)

    def blur(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Lose what a smaller image cannot hold."""
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
"""Name → what changes the image as it is in its file, before it is resized to the model's input."""


def robustness(ensemble: Ensemble, images: LabelledImages, count: int, batch_size: int, tick: Tick) -> Robustness:
    """Perturb some of the images and ask again.

    Args:
        ensemble: Whose answers are compared with each other.
        images: Of which `count`, or all if there are fewer, are taken.
        count: At least 1.
        batch_size: Images at a time.
        tick: Told how many more images are done.

    Raises:
        InputError: An image cannot be read.
    """
    few = images.stratified(min(count, len(images)))
    unchanged = ask(ensemble, few, batch_size, tick)
    before, inference_s = decided(unchanged.vote), unchanged.inference_s
    found = {}
    for name, perturb in PERTURBATIONS.items():
        changed = ask(ensemble, replace(few, change=perturb), batch_size, tick)
        after = decided(changed.vote)
        inference_s += changed.inference_s
        found[name] = Perturbed(
            Share.of(int((after != before).sum()), len(few)), Share.of(int((after == few.labels).sum()), len(few))
        )
    return Robustness(len(few), found, inference_s)
