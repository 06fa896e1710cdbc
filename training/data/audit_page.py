"""The audit as one self-contained HTML page that shows the worst pairs side by side."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from braintumor.bench.data.manifest import SPLITS, Split
from braintumor.bench.report.html import Table, render
from braintumor.models.labels import CLASSES
from braintumor.training.data.audit import NEAR, Audit, Pair
from braintumor.training.data.dataset import Dataset
from braintumor.training.data.shortcuts import ShortcutAudit
from braintumor.training.data.shortcuts_page import TEMPLATES, shortcuts_view

__all__ = ["PairCard", "audit_page", "thumbnail"]

_WIDTH_PX: Final = 328
"""Of the two pictures of a pair together."""


@dataclass(frozen=True, slots=True)
class PairCard:
    """Two near-duplicates.

    Attributes:
        names: Split and file of each.
        labels: One label, or two where they differ.
        distance: How alike they are.
        picture: Both side by side, as a data: address.
    """

    names: tuple[str, str]
    labels: tuple[str, ...]
    distance: str
    picture: str


def audit_page(
    audit: Audit,
    pairs: Sequence[Pair],
    parts: Mapping[Split, Dataset],
    shortcuts: ShortcutAudit,
    *,
    shown: int = 48,
) -> str:
    """Render the page.

    Args:
        audit: Counts of copies and near-duplicates.
        pairs: Worst first.
        parts: The audited images, for the pictures.
        shortcuts: What gives the class away.
        shown: How many pairs.

    Raises:
        UnavailableError: Jinja2 or matplotlib is not installed.
    """
    return render(
        TEMPLATES / "audit.html.j2",
        about=f"{audit.images:,} images, {audit.test_images:,} of them for testing",
        near=NEAR,
        counts=Table(("found", "count"), [(name, f"{count:,}") for name, count in _counts(audit)]),
        heading=f"The worst {min(shown, len(pairs))} of {len(pairs):,} pairs",
        cards=[_card(pair, parts) for pair in pairs[:shown]],
        shortcuts=shortcuts_view(shortcuts),
    )


def _counts(audit: Audit) -> list[tuple[str, int]]:
    rows = [
        ("images", audit.images),
        ("different pixel arrays", audit.unique),
        ("pixel-exact copies of an earlier image", audit.exact_extras),
        ("identical images filed under different classes", audit.exact_across_classes),
        ("test images", audit.test_images),
        ("test images with a pixel-exact copy in train or val", audit.test_with_exact_copy),
    ]
    rows += [
        (f"test images with a neighbour in train or val at {bits} bits or fewer", count)
        for bits, count in audit.test_with_neighbour.items()
    ]
    rows += [
        (f"the same, mirrored images counted too, at {bits} bits or fewer", count)
        for bits, count in audit.test_with_neighbour_flipped.items()
    ]
    return [
        *rows,
        ("near-duplicate pairs", audit.near_pairs),
        ("near-duplicate pairs with different labels", audit.near_pairs_across_classes),
        ("clusters of near-duplicates", sum(audit.cluster_sizes.values())),
        ("images in the largest cluster", audit.largest_cluster),
    ]


def _card(pair: Pair, parts: Mapping[Split, Dataset]) -> PairCard:
    name, label, pixels = _image(pair.first, parts)
    other_name, other_label, other_pixels = _image(pair.second, parts)
    gap = np.full((len(pixels), len(pixels) // 20), 255, np.uint8)
    distance = "exact copy" if pair.exact else f"{pair.distance} bits"
    mirrored = "" if pair.flip == "none" else f", the first mirrored {pair.flip}"
    return PairCard(
        names=(name, other_name),
        labels=(label,) if label == other_label else (label, other_label),
        distance=distance + mirrored,
        picture=thumbnail(np.hstack([pixels, gap, other_pixels]), _WIDTH_PX),
    )


def _image(index: int, parts: Mapping[Split, Dataset]) -> tuple[str, str, NDArray[np.uint8]]:
    """Find an image by its place in all parts: file with its split, label, and uint8 [height, width]."""
    for split in SPLITS:
        data = parts[split]
        if index < len(data):
            return f"{split}: {data.files[index]}", CLASSES[int(data.labels[index])], data.images[index]
        index -= len(data)
    raise IndexError(index)


def thumbnail(pixels: NDArray[np.uint8], side_px: int) -> str:
    """Make a small picture, as a data: address.

    Args:
        pixels: uint8 [height, width].
        side_px: Of the square that it is brought into.
    """
    image = Image.fromarray(pixels)
    image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, format="JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
