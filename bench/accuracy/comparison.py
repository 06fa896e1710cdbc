"""One ensemble's answers beside a reference's, image by image: what flipped, and by how much all moved."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from braintumor.bench.accuracy.predict import Answers, Who
from braintumor.bench.data.labelled import LabelledImages
from braintumor.bench.document import field_values
from braintumor.bench.metrics.classification import decided, label_name
from braintumor.bench.metrics.paired import PairedMetrics, leads, paired_metrics
from braintumor.runtime.vote import vote_shares

__all__ = ["Comparison", "Flip", "compare_predictions"]

_PICTURED: Final = 64
_PICTURE_PX: Final = 112


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
        reference_margin: Lead of the reference's winner; None without probabilities.
        margin: Lead of the deployed's.
        png_base64: A small picture; None from the 65th flip on.
    """

    index: int
    name: str
    truth: str
    reference_label: str | None
    label: str | None
    reference_probabilities: tuple[float, ...] | None
    probabilities: tuple[float, ...] | None
    reference_margin: float | None
    margin: float | None
    png_base64: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(PairedMetrics):
    """A deployed ensemble beside its reference, by their votes on all images.

    Attributes:
        near_duplicate_free: On the images of which training has seen no like; None where that is not known.
        members: By name, of the members that both have.
        missing_members: Members of the reference that the deployed lacks.
        added_members: Members that the reference lacks.
        same_originals: Whether both are made of the same trained models, with the same weights in the vote.
        flipped: In the order of the images.
    """

    near_duplicate_free: PairedMetrics | None
    members: Mapping[str, PairedMetrics]
    missing_members: tuple[str, ...]
    added_members: tuple[str, ...]
    same_originals: bool
    flipped: tuple[Flip, ...]


def compare_predictions(
    reference: tuple[Who, Answers], deployed: tuple[Who, Answers], images: LabelledImages, free: Sequence[int] | None
) -> Comparison:
    """Compare two ensembles' answers to the same images.

    Args:
        reference: Who it is, and what it said.
        deployed: The same of what is judged.
        images: What both were asked about; the first that flip are read again for their pictures.
        free: Indices of the images of which training has seen no like; None where that is not known.

    Raises:
        InputError: An image that flipped cannot be read any more.
    """
    (reference_who, expected), (deployed_who, found) = reference, deployed
    partners = _partners(reference_who, deployed_who)
    labels = images.labels
    rows = list(free or ())
    vote = paired_metrics(expected.vote, found.vote, labels)
    return Comparison(
        **field_values(vote),
        near_duplicate_free=paired_metrics(expected.vote[rows], found.vote[rows], labels[rows]) if rows else None,
        members={
            name: paired_metrics(expected.members[partners[name]], found.members[index], labels)
            for index, name in enumerate(deployed_who.members)
            if name in partners
        },
        missing_members=tuple(
            name for index, name in enumerate(reference_who.members) if index not in partners.values()
        ),
        added_members=tuple(name for name in deployed_who.members if name not in partners),
        same_originals=_shares_by_original(reference_who) == _shares_by_original(deployed_who),
        flipped=tuple(_flips(expected.vote, found.vote, images)),
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


def _flips(reference: NDArray[np.float32], answers: NDArray[np.float32], images: LabelledImages) -> Iterator[Flip]:
    before, after = decided(reference), decided(answers)
    for number, index in enumerate(np.flatnonzero(before != after).tolist()):
        yield Flip(
            index=index,
            name=images.names[index],
            truth=images.classes[images.labels[index]],
            reference_label=label_name(before[index], images.classes),
            label=label_name(after[index], images.classes),
            reference_probabilities=_row(reference[index]),
            probabilities=_row(answers[index]),
            reference_margin=_lead(reference[index]),
            margin=_lead(answers[index]),
            png_base64=_picture(images.read(index)) if number < _PICTURED else None,
        )


def _row(values: NDArray[np.float32]) -> tuple[float, ...] | None:
    return tuple(values.tolist()) if np.isfinite(values).all() else None


def _lead(row: NDArray[np.float32]) -> float | None:
    return float(leads(row.astype(np.float64))) if np.isfinite(row).all() else None


def _picture(pixels: NDArray[np.uint8]) -> str:
    """A small PNG of an image, in base64."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((_PICTURE_PX, _PICTURE_PX))
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode("ascii")
