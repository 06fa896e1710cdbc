"""The audit as one self-contained HTML page that shows the worst pairs side by side."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from braintumor.bench.data.manifest import SPLITS, Split
from braintumor.bench.report.html import Markup, figure, markup, page, paragraph, section, table, thumbnail
from braintumor.models.labels import CLASSES
from braintumor.training.data.audit import NEAR, Audit, Pair
from braintumor.training.data.dataset import Dataset
from braintumor.training.data.shortcuts import ShortcutAudit
from braintumor.training.data.shortcuts_page import shortcuts_section

__all__ = ["audit_page"]

_WIDTH_PX: Final = 328
"""Of the two pictures of a pair together."""

_WHAT = f"""\
Near-duplicates are images whose 64-bit perceptual hashes (pHash) differ in {NEAR} bits or fewer. A network that is \
tested on a picture it was trained on is tested on its memory: figures on the test split are to be read beside those \
on its near-duplicate-free part."""


def audit_page(
    findings: Audit,
    pairs: Sequence[Pair],
    parts: dict[Split, Dataset],
    shortcuts: ShortcutAudit,
    *,
    shown: int = 48,
) -> str:
    """The page as text.

    Args:
        findings: What was found.
        pairs: Worst first.
        parts: The audited images, for the pictures.
        shortcuts: What gives the class away.
        shown: How many pairs.
    """
    about = f"{findings.images:,} images, {findings.test_images:,} of them for testing"
    return page("Data audit", about, [*_sections(findings, pairs, parts, shown), shortcuts_section(shortcuts)])


def _sections(findings: Audit, pairs: Sequence[Pair], parts: dict[Split, Dataset], shown: int) -> Iterator[Markup]:
    yield paragraph(_WHAT)
    yield table(("found", "count"), [(name, f"{value:,}") for name, value in _rows(findings)])
    cards = "\n".join(_pair(pair, parts) for pair in pairs[:shown])
    yield section(
        f"The worst {min(shown, len(pairs))} of {len(pairs):,} pairs",
        [
            paragraph(
                "Pairs with different labels first, then pairs across the border of the test split, then by "
                "distance; mirrored ones are among them.",
                "soft",
            ),
            Markup(f'<div class="cards">{cards}</div>'),
        ],
    )


def _rows(found: Audit) -> list[tuple[str, int]]:
    rows = [
        ("images", found.images),
        ("different pixel arrays", found.unique),
        ("pixel-exact copies of an earlier image", found.exact_extras),
        ("groups of equal pixels with different labels", found.exact_across_classes),
        ("test images", found.test_images),
        ("test images with a pixel-exact copy in train or val", found.test_with_exact_copy),
    ]
    rows += [
        (f"test images with a neighbour in train or val at {bits} bits or fewer", count)
        for bits, count in found.test_with_neighbour.items()
    ]
    rows += [
        (f"the same, mirrored images counted too, at {bits} bits or fewer", count)
        for bits, count in found.test_with_neighbour_flipped.items()
    ]
    return [
        *rows,
        ("near-duplicate pairs", found.near_pairs),
        ("near-duplicate pairs with different labels", found.near_pairs_across_classes),
        ("clusters of near-duplicates", sum(found.cluster_sizes.values())),
        ("images in the largest cluster", found.largest_cluster),
    ]


def _pair(pair: Pair, parts: dict[Split, Dataset]) -> Markup:
    name, label, pixels = _image(pair.first, parts)
    other_name, other_label, other_pixels = _image(pair.second, parts)
    gap = np.full((len(pixels), len(pixels) // 20), 255, np.uint8)
    address = thumbnail(np.hstack([pixels, gap, other_pixels]), _WIDTH_PX)
    kind = "exact copy" if pair.exact else f"{pair.distance} bits"
    mirrored = "" if pair.flip == "none" else f", the first mirrored {pair.flip}"
    labels = markup(label) if label == other_label else Markup(f"<b>{markup(label)} and {markup(other_label)}</b>")
    lines = (Markup(f"{labels}: {kind}{mirrored}"), name, other_name)
    return figure(
        Markup(f'<img alt="{markup(name)} beside {markup(other_name)}" src="{address}">'),
        Markup("<br>".join(markup(line) for line in lines)),
    )


def _image(index: int, parts: dict[Split, Dataset]) -> tuple[str, str, np.ndarray]:
    """File with its split, label, and uint8 [height, width]."""
    for split in SPLITS:
        data = parts[split]
        if index < len(data):
            return f"{split}: {data.files[index]}", CLASSES[int(data.labels[index])], data.images[index]
        index -= len(data)
    raise IndexError(index)
