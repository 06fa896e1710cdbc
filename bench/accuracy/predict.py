"""Predictions of ensembles on labelled images: of a deployed bundle on an engine, or of its reference."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.data.labelled import LabelledImages
from braintumor.bench.data.originals import keras_sources
from braintumor.models.labels import class_permutation
from braintumor.models.vote_calibration import apply_temperature
from braintumor.runtime.bundle.load import Bundle
from braintumor.runtime.engines.base import EngineInfo
from braintumor.runtime.engines.keras import KerasEngine
from braintumor.runtime.ensemble import Ensemble
from braintumor.runtime.members import Members
from braintumor.runtime.vote import soft_vote

__all__ = ["EnsembleInfo", "Predictions", "ensemble_info", "ensemble_vote", "keras_ensemble", "predict"]


@dataclass(frozen=True, slots=True)
class EnsembleInfo:
    """The name of an ensemble, its engine and its members.

    Attributes:
        name: Of the bundle's folder, or "keras" for the originals of a bundle.
        sha256: Of the bundle; None for the originals.
        precision: Of the members; "mixed" where they differ.
        engine: The engine and device that it runs on, read back after loading.
        members: Names, in the bundle's order.
        weights: Of the members in the vote.
        sources: SHA-256 of each member's `.keras` file; None if the bundle does not name it.
    """

    name: str
    sha256: str | None
    precision: str
    engine: EngineInfo
    members: tuple[str, ...]
    weights: tuple[float, ...]
    sources: tuple[str | None, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Probabilities that an ensemble gives to some images.

    Attributes:
        members: float32 [members, n, classes], in the order of the classes of the images.
        vote: float32 [n, classes], of the whole ensemble.
        inference_s: Seconds within the members.
    """

    members: NDArray[np.float32]
    vote: NDArray[np.float32]
    inference_s: float


def ensemble_info(ensemble: Ensemble) -> EnsembleInfo:
    """The name and the engine of an ensemble, and of the members of its bundle."""
    bundle = ensemble.bundle
    is_original = ensemble.engine.name == KerasEngine.name
    return EnsembleInfo(
        name=KerasEngine.name if is_original else bundle.folder.name,
        sha256=None if is_original else bundle.sha256,
        precision="fp32" if is_original else bundle.precision,
        engine=ensemble.engine,
        members=tuple(member.name for member in bundle.members),
        weights=bundle.weights,
        sources=tuple(member.details["source"].get("sha256") for member in bundle.members),
    )


def keras_ensemble(bundle: Bundle, folders: Sequence[Path]) -> Ensemble:
    """The models that a bundle's members were exported from, run by Keras, with the bundle's weights.

    Args:
        bundle: A verified bundle.
        folders: Where the `.keras` files are looked for, by their hash; what ships with the package comes last.

    Raises:
        UnavailableError: One is in none of them, or TensorFlow is not installed.
        ModelError: Keras does not load one.
    """
    sources = keras_sources(bundle, folders)
    engines = [
        KerasEngine(member, bundle.classes, path) for member, path in zip(bundle.members, sources, strict=True)
    ]
    return Ensemble(bundle, Members(bundle.members, engines))


def predict(
    ensemble: Ensemble, images: LabelledImages, batch_size: int, tick: Callable[[int], object]
) -> Predictions:
    """Run all members on all images; the next batch is decoded meanwhile.

    Args:
        ensemble: A loaded ensemble; its classes are those of the images, in any order.
        images: At least one image.
        batch_size: Images in a batch.
        tick: Is called with the number of images of each batch that is done.

    Raises:
        InputError: An image cannot be read.
        UsageError: The bundle knows other classes.
    """
    order = list(class_permutation(ensemble.bundle.classes, images.classes))
    batches = []
    inference_s = 0.0
    for batch in images.batches(set(ensemble.geometries), batch_size):
        start = time.perf_counter()
        batches.append(ensemble.probabilities(batch)[..., order])
        inference_s += time.perf_counter() - start
        tick(batches[-1].shape[1])
    members = np.concatenate(batches, axis=1)
    return Predictions(members, ensemble_vote(ensemble.bundle, members), inference_s)


def ensemble_vote(bundle: Bundle, members: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [n, classes]: the vote of float32 [members, n, classes]."""
    vote: NDArray[np.float32] = apply_temperature(soft_vote(members, bundle.weights), bundle.temperature)
    return vote
