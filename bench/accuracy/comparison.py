"""Predictions of an ensemble beside those of a reference, image by image: flips and differences."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from braintumor.bench.accuracy.predict import EnsembleInfo, Predictions
from braintumor.bench.data.labelled import LabelledImages
from braintumor.bench.document import field_values
from braintumor.bench.metrics.classification import label_name, predicted_labels
from braintumor.bench.metrics.paired import PairedMetrics, leads, paired_metrics
from braintumor.runtime.vote import vote_shares

__all__ = ["Comparison", "Flip", "compare_predictions"]

_PICTURED: Final = 64
_PICTURE_PX: Final = 112


@dataclass(frozen=True, slots=True)
class Flip:
    """An image whose label differs between the reference and the deployed ensemble.

    Attributes:
        index: Of the image.
        name: File name of the image.
        truth: Its class.
        reference_label: Label given by the reference; None if its probabilities are not finite.
        label: Label given by the deployed ensemble; None likewise.
        reference_probabilities: Of all classes, in their order; None if one is not finite.
        probabilities: Of the deployed ensemble.
        reference_margin: Lead of the reference's winner over the runner-up; None without probabilities.
        margin: The same of the deployed ensemble.
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
        near_duplicate_free: On the images of which training has seen no near-duplicate; None if that is not known.
        members: By name, of the members that both have.
        missing_members: Members of the reference that the deployed lacks.
        added_members: Members that the reference lacks.
        same_originals: Whether both were exported from the same trained models and give them the same weights.
        flipped: Images whose label differs, in their order.
    """

    near_duplicate_free: PairedMetrics | None
    members: Mapping[str, PairedMetrics]
    missing_members: tuple[str, ...]
    added_members: tuple[str, ...]
    same_originals: bool
    flipped: tuple[Flip, ...]


def compare_predictions(
    reference: tuple[EnsembleInfo, Predictions],
    deployed: tuple[EnsembleInfo, Predictions],
    images: LabelledImages,
    leak_free: Sequence[int] | None,
) -> Comparison:
    """Compare the predictions of two ensembles on the same images.

    Args:
        reference: The reference and its predictions.
        deployed: The deployed ensemble and its predictions.
        images: The images; the first that flip are read again for their pictures.
        leak_free: Indices of the images of which training has seen no near-duplicate; None if that is not known.

    Raises:
        InputError: An image that flipped cannot be read any more.
    """
    (reference_info, expected), (deployed_info, actual) = reference, deployed
    partners = _partners(reference_info, deployed_info)
    labels = images.labels
    rows = list(leak_free or ())
    vote = paired_metrics(expected.vote, actual.vote, labels)
    return Comparison(
        **field_values(vote),
        near_duplicate_free=paired_metrics(expected.vote[rows], actual.vote[rows], labels[rows]) if rows else None,
        members={
            name: paired_metrics(expected.members[partners[name]], actual.members[index], labels)
            for index, name in enumerate(deployed_info.members)
            if name in partners
        },
        missing_members=tuple(
            name for index, name in enumerate(reference_info.members) if index not in partners.values()
        ),
        added_members=tuple(name for name in deployed_info.members if name not in partners),
        same_originals=_shares_by_original(reference_info) == _shares_by_original(deployed_info),
        flipped=tuple(_flips(expected.vote, actual.vote, images)),
    )


def _partners(reference: EnsembleInfo, deployed: EnsembleInfo) -> dict[str, int]:
    """Name of a deployed member → index of the reference's member of the same name, or of the same original."""
    partners = {}
    for name, source in zip(deployed.members, deployed.sources, strict=True):
        if name in reference.members:
            partners[name] = reference.members.index(name)
        elif source is not None and source in reference.sources:
            partners[name] = reference.sources.index(source)
    return partners


def _shares_by_original(ensemble: EnsembleInfo) -> list[tuple[str, float]]:
    shares = vote_shares(ensemble.weights).tolist()
    return sorted(
        (source or name, share)
        for name, source, share in zip(ensemble.members, ensemble.sources, shares, strict=True)
    )


def _flips(reference: NDArray[np.float32], deployed: NDArray[np.float32], images: LabelledImages) -> Iterator[Flip]:
    before, after = predicted_labels(reference), predicted_labels(deployed)
    for number, index in enumerate(np.flatnonzero(before != after).tolist()):
        yield Flip(
            index=index,
            name=images.names[index],
            truth=images.classes[images.labels[index]],
            reference_label=label_name(before[index], images.classes),
            label=label_name(after[index], images.classes),
            reference_probabilities=_row(reference[index]),
            probabilities=_row(deployed[index]),
            reference_margin=_lead(reference[index]),
            margin=_lead(deployed[index]),
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
