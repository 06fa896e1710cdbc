"""What ensembles say of labelled images: a deployed bundle on an engine, or the reference that it is judged by."""

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

__all__ = ["Answers", "Who", "ask", "keras_ensemble", "vote_of", "who"]


@dataclass(frozen=True, slots=True)
class Who:
    """An ensemble, as the files of all commands name it.

    Attributes:
        name: Of the bundle's folder, or "keras" for the originals of a bundle.
        sha256: Of the bundle; None for the originals.
        precision: Of the members; "mixed" where they differ.
        engine: What it really runs on.
        members: Names, in the bundle's order.
        weights: One a member.
        sources: SHA-256 of each member's `.keras` file; None where the bundle does not say.
    """

    name: str
    sha256: str | None
    precision: str
    engine: EngineInfo
    members: tuple[str, ...]
    weights: tuple[float, ...]
    sources: tuple[str | None, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What an ensemble said of some images.

    Attributes:
        members: float32 [members, n, classes], in the order of the classes of the images.
        vote: float32 [n, classes].
        inference_s: Seconds within the members.
    """

    members: NDArray[np.float32]
    vote: NDArray[np.float32]
    inference_s: float


def who(ensemble: Ensemble) -> Who:
    """Name an ensemble that answers with what a bundle holds."""
    bundle = ensemble.bundle
    is_original = ensemble.engine.name == KerasEngine.name
    return Who(
        name=KerasEngine.name if is_original else bundle.folder.name,
        sha256=None if is_original else bundle.sha256,
        precision="fp32" if is_original else bundle.precision,
        engine=ensemble.engine,
        members=tuple(member.name for member in bundle.members),
        weights=bundle.weights,
        sources=tuple(member.details["source"].get("sha256") for member in bundle.members),
    )


def keras_ensemble(bundle: Bundle, folders: Sequence[Path]) -> Ensemble:
    """The originals of a bundle's members, asked by Keras, with the bundle's weights.

    Args:
        bundle: Verified.
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


def ask(ensemble: Ensemble, images: LabelledImages, batch_size: int, tick: Callable[[int], object]) -> Answers:
    """Ask all members about all images; the next batch is decoded meanwhile.

    Args:
        ensemble: Whose bundle knows the same classes as the images, in any order.
        images: At least one.
        batch_size: Images at a time.
        tick: Told how many more images are done.

    Raises:
        InputError: An image cannot be read.
        UsageError: The bundle knows other classes.
    """
    order = list(class_permutation(ensemble.bundle.classes, images.classes))
    parts = []
    inference_s = 0.0
    for batch in images.batches(set(ensemble.geometries), batch_size):
        start = time.perf_counter()
        parts.append(ensemble.probabilities(batch)[..., order])
        inference_s += time.perf_counter() - start
        tick(parts[-1].shape[1])
    members = np.concatenate(parts, axis=1)
    return Answers(members, vote_of(ensemble.bundle, members), inference_s)


def vote_of(bundle: Bundle, members: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [n, classes]: the vote of float32 [members, n, classes]."""
    vote: NDArray[np.float32] = apply_temperature(soft_vote(members, bundle.weights), bundle.temperature)
    return vote
