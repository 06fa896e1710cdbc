"""Members that are right no more often than chance: whether they are with their pixels scaled otherwise."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from braintumor.bench.accuracy.predict import ask, keras_ensemble
from braintumor.bench.data.labelled import LabelledImages
from braintumor.bench.metrics.classification import Scores, scores
from braintumor.models.spec import PREPROCESSES
from braintumor.runtime.bundle.load import Bundle, Member

__all__ = ["Scaling", "chance", "is_chance", "tried_scalings"]

_SAMPLE: Final = 64
# Three colours each scaled in its own way; one grey channel has none.
_OF_COLOURS: Final = frozenset({"torch", "caffe"})


@dataclass(frozen=True, slots=True)
class Scaling:
    """A scaling that suits a member better than its own.

    Attributes:
        preprocess: As `bt-export --preprocess` takes it.
        accuracy: Share of the sample that is right then.
    """

    preprocess: str
    accuracy: float


def chance(found: Scores) -> float:
    """The share that would be right if the same answers were dealt out to the images at random.

    Sum over classes of the share of truths times the share of answers, p_e of J. Cohen 1960, Educational and
    Psychological Measurement 20:37-46. One answer for all images is no better, however the classes are spread.
    """
    confusion = np.array(found.confusion) / found.images
    return float(confusion.sum(axis=0) @ confusion.sum(axis=1))


def is_chance(found: Scores) -> bool:
    """Whether the lower end of the accuracy's interval (Clopper-Pearson, 95 %) is not above chance."""
    low, _ = found.interval
    return low <= chance(found)


def tried_scalings(
    bundle: Bundle,
    names: Sequence[str],
    images: LabelledImages,
    folders: Sequence[Path],
    tick: Callable[[int], object],
) -> Mapping[str, Scaling | None]:
    """Ask the originals of members about a sample, with every other scaling.

    Args:
        bundle: Verified.
        names: Of the members.
        images: Labelled.
        folders: Where the originals are looked for.
        tick: Told how many more images are done.

    Returns:
        For each name the best scaling, where that is better than chance.

    Raises:
        UnavailableError: An original is not found, or TensorFlow is not installed.
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
    found = []
    for mode in others:
        changed = replace(member, details={**member.details, "source": {**source, "preprocess": mode}})
        with keras_ensemble(replace(bundle, members=(changed,)), folders) as original:
            answers = ask(original, sample, len(sample), tick)
        judged = scores(answers.vote, sample.labels, sample.classes)
        if not is_chance(judged):
            found.append(Scaling(mode, judged.accuracy))
    return max(found, key=lambda one: one.accuracy, default=None)
