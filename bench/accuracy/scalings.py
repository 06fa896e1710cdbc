"""Other scalings of the pixels for members that are no better than chance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from braintumor.bench.accuracy.predict import keras_ensemble, predict
from braintumor.bench.data.labelled import LabelledImages
from braintumor.bench.metrics.classification import Scores, scores
from braintumor.models.spec import PREPROCESSES
from braintumor.runtime.bundle.load import Bundle, Member

__all__ = ["Scaling", "chance", "is_chance", "try_scalings"]

_SAMPLE: Final = 64
# These scale each of three colours differently; a model of one grey channel cannot use them.
_OF_COLOURS: Final = frozenset({"torch", "caffe"})


@dataclass(frozen=True, slots=True)
class Scaling:
    """A scaling that suits a member better than its own.

    Attributes:
        preprocess: As `bt-export --preprocess` takes it.
        accuracy: Share of the sample that is then right.
    """

    preprocess: str
    accuracy: float


def chance(scores: Scores) -> float:
    """The share that would be right if the same labels were assigned to the images at random.

    Sum over classes of the share of truths times the share of predictions, p_e of J. Cohen 1960, Educational and
    Psychological Measurement 20:37-46. One label for all images is no better, whatever the shares of the classes.
    """
    confusion = np.array(scores.confusion) / scores.images
    return float(confusion.sum(axis=0) @ confusion.sum(axis=1))


def is_chance(scores: Scores) -> bool:
    """Whether the lower end of the accuracy's interval (Clopper-Pearson, 95 %) is not above chance."""
    low, _ = scores.interval
    return low <= chance(scores)


def try_scalings(
    bundle: Bundle,
    names: Sequence[str],
    images: LabelledImages,
    folders: Sequence[Path],
    tick: Callable[[int], object],
) -> Mapping[str, Scaling | None]:
    """Run the `.keras` files of members on a sample, with every other scaling.

    Args:
        bundle: A verified bundle.
        names: Of the members.
        images: Labelled images.
        folders: Folders to search for the `.keras` files.
        tick: Is called with the number of images that are done.

    Returns:
        For each name the best scaling; None where none is better than chance.

    Raises:
        UnavailableError: A `.keras` file is not found, or TensorFlow is not installed.
    """
    sample = images.stratified(min(_SAMPLE, len(images)))
    members = {member.name: member for member in bundle.members}
    return {name: _best(bundle, members[name], sample, folders, tick) for name in names}


def _best(
    bundle: Bundle, member: Member, sample: LabelledImages, folders: Sequence[Path], tick: Callable[[int], object]
) -> Scaling | None:
    source = member.details["source"]
    others = [
        mode
        for mode in PREPROCESSES
        if mode != source["preprocess"] and not (source["channels"] == 1 and mode in _OF_COLOURS)
    ]
    better = []
    for mode in others:
        changed = replace(member, details={**member.details, "source": {**source, "preprocess": mode}})
        with keras_ensemble(replace(bundle, members=(changed,)), folders) as original:
            predictions = predict(original, sample, len(sample), tick)
        sample_scores = scores(predictions.vote, sample.labels, sample.classes)
        if not is_chance(sample_scores):
            better.append(Scaling(mode, sample_scores.accuracy))
    return max(better, key=lambda scaling: scaling.accuracy, default=None)
