"""One ensemble's answers beside a reference's, image by image: what flipped, and by how much all moved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.accuracy.predict import Answers, Who
from braintumor.bench.data.labelled import LabelledImages
from braintumor.bench.metrics.classification import UNANSWERED, decided, kl_divergence, share_json
from braintumor.bench.metrics.intervals import (
    Pairs,
    Share,
    bootstrap_interval,
    clopper_pearson_upper,
    mcnemar_p,
    tango_interval,
    tango_lower,
)
from braintumor.runtime.vote import vote_shares

__all__ = ["Comparison", "Flip", "Paired", "compared", "paired"]


@dataclass(frozen=True, slots=True)
class Paired:
    """Figures of paired answers; where an answer is not finite, those that need it are None.

    Attributes:
        pairs: Who decides right: the reference first, the deployed second.
        flips: Images whose label differs.
        max_abs_difference: max |Δp| over images and classes.
        mean_abs_difference: mean |Δp|.
        kl_mean: Mean of sum r ln(r / a) over images, in nats.
        kl_max: Largest over images.
        reference_margin: Mean lead of the winner over the runner-up in the reference.
        margin: The same in the deployed.
    """

    pairs: Pairs
    flips: Share
    max_abs_difference: float | None
    mean_abs_difference: float | None
    kl_mean: float | None
    kl_max: float | None
    reference_margin: float | None
    margin: float | None

    def to_json(self) -> dict[str, Any]:
        """As plain data; see docs/bench-json.md."""
        low, high = tango_interval(self.pairs)
        boot_low, boot_high = bootstrap_interval(self.pairs)
        return {
            "both_right": self.pairs.both_right,
            "only_reference_right": self.pairs.only_first,
            "only_deployed_right": self.pairs.only_second,
            "both_wrong": self.pairs.both_wrong,
            "accuracy_difference_points": 100 * self.pairs.difference,
            "tango_interval_points": [100 * low, 100 * high],
            "tango_lower_one_sided_points": 100 * tango_lower(self.pairs),
            "bootstrap_interval_points": [100 * boot_low, 100 * boot_high],
            "mcnemar_p": mcnemar_p(self.pairs),
            "flips": {
                **(share_json(self.flips) or {}),
                "upper_one_sided": clopper_pearson_upper(self.flips.count, self.flips.total),
            },
            "max_abs_difference": self.max_abs_difference,
            "mean_abs_difference": self.mean_abs_difference,
            "kl_mean_nats": self.kl_mean,
            "kl_max_nats": self.kl_max,
            "reference_margin_mean": self.reference_margin,
            "margin_mean": self.margin,
        }


@dataclass(frozen=True, slots=True)
class Flip:
    """An image whose label differs between the reference and the deployed.

    Attributes:
        index: Into the images.
        name: Of its file.
        truth: Its class.
        reference_label: What the reference says; None where it has no answer.
        label: What the deployed says; None likewise.
        reference_probabilities: Of all classes, in their order; None where one is not finite.
        probabilities: Of the deployed.
    """

    index: int
    name: str
    truth: str
    reference_label: str | None
    label: str | None
    reference_probabilities: tuple[float, ...] | None
    probabilities: tuple[float, ...] | None

    def to_json(self) -> dict[str, Any]:
        """As plain data; see docs/bench-json.md."""
        return {
            "index": self.index,
            "name": self.name,
            "truth": self.truth,
            "reference_label": self.reference_label,
            "label": self.label,
            "reference_probabilities": self.reference_probabilities and list(self.reference_probabilities),
            "probabilities": self.probabilities and list(self.probabilities),
            "reference_margin": _lead(self.reference_probabilities),
            "margin": _lead(self.probabilities),
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """A deployed ensemble beside its reference.

    Attributes:
        vote: Of the whole ensembles, on all images.
        near_duplicate_free: On the images of which training has seen no like; None where that is not known.
        members: By name, of the members that both have.
        missing: Members of the reference that the deployed lacks.
        added: Members that the reference lacks.
        same_originals: Whether both are made of the same trained models, with the same weights in the vote.
        flips: In the order of the images.
    """

    vote: Paired
    near_duplicate_free: Paired | None
    members: Mapping[str, Paired]
    missing: tuple[str, ...]
    added: tuple[str, ...]
    same_originals: bool
    flips: tuple[Flip, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain data, without the pictures of the flips."""
        return {
            **self.vote.to_json(),
            "near_duplicate_free": self.near_duplicate_free and self.near_duplicate_free.to_json(),
            "members": {name: one.to_json() for name, one in self.members.items()},
            "missing_members": list(self.missing),
            "added_members": list(self.added),
            "same_originals": self.same_originals,
            "flipped": [flip.to_json() for flip in self.flips],
        }


def paired(reference: NDArray[np.float32], answers: NDArray[np.float32], labels: NDArray[np.int64]) -> Paired:
    """Compare float32 [n, classes] with float32 [n, classes], n at least 1; labels are the truth."""
    before, after = decided(reference), decided(answers)
    pairs = Pairs.of(before == labels, after == labels)
    flips = Share(int((before != after).sum()), len(labels))
    if (before == UNANSWERED).any() or (after == UNANSWERED).any():
        return Paired(pairs, flips, None, None, None, None, None, None)
    first, second = reference.astype(np.float64), answers.astype(np.float64)
    difference = np.abs(second - first)
    divergence = kl_divergence(first, second)
    return Paired(
        pairs,
        flips,
        float(difference.max()),
        float(difference.mean()),
        float(divergence.mean()),
        float(divergence.max()),
        float(_leads(first).mean()),
        float(_leads(second).mean()),
    )


def compared(
    reference: tuple[Who, Answers], deployed: tuple[Who, Answers], images: LabelledImages, free: Sequence[int] | None
) -> Comparison:
    """Compare two ensembles' answers to the same images.

    Args:
        reference: Who it is, and what it said.
        deployed: The same of what is judged.
        images: What both were asked about.
        free: Indices of the images of which training has seen no like; None where that is not known.
    """
    (reference_who, expected), (deployed_who, found) = reference, deployed
    partners = _partners(reference_who, deployed_who)
    labels = images.labels
    rows = None if not free else list(free)
    return Comparison(
        vote=paired(expected.vote, found.vote, labels),
        near_duplicate_free=None if rows is None else paired(expected.vote[rows], found.vote[rows], labels[rows]),
        members={
            name: paired(expected.members[partners[name]], found.members[index], labels)
            for index, name in enumerate(deployed_who.members)
            if name in partners
        },
        missing=tuple(name for index, name in enumerate(reference_who.members) if index not in partners.values()),
        added=tuple(name for name in deployed_who.members if name not in partners),
        same_originals=_shares_by_original(reference_who) == _shares_by_original(deployed_who),
        flips=tuple(_flips(expected.vote, found.vote, images)),
    )


def _partners(reference: Who, deployed: Who) -> dict[str, int]:
    """Name of a deployed member → index of the reference's that it stands for: of the same name, or original."""
    partners = {}
    for name, source in zip(deployed.members, deployed.sources, strict=True):
        if name in reference.members:
            partners[name] = reference.members.index(name)
        elif source is not None and source in reference.sources:
            partners[name] = reference.sources.index(source)
    return partners


def _shares_by_original(one: Who) -> list[tuple[str, float]]:
    shares = vote_shares(one.weights).tolist()
    return sorted(
        (source or name, share) for name, source, share in zip(one.members, one.sources, shares, strict=True)
    )


def _flips(reference: NDArray[np.float32], answers: NDArray[np.float32], images: LabelledImages) -> Sequence[Flip]:
    before, after = decided(reference), decided(answers)

    def label(index: int) -> str | None:
        return None if index == UNANSWERED else images.classes[index]

    return [
        Flip(
            index,
            images.names[index],
            images.classes[images.labels[index]],
            label(int(before[index])),
            label(int(after[index])),
            _row(reference[index]),
            _row(answers[index]),
        )
        for index in np.flatnonzero(before != after).tolist()
    ]


def _row(values: NDArray[np.float32]) -> tuple[float, ...] | None:
    return tuple(values.tolist()) if np.isfinite(values).all() else None


def _leads(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    ordered = np.sort(probabilities, axis=-1)
    leads: NDArray[np.float64] = ordered[..., -1] - ordered[..., -2]
    return leads


def _lead(row: tuple[float, ...] | None) -> float | None:
    return None if row is None else float(_leads(np.array(row)))
