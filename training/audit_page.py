"""The audit as one self-contained HTML page that shows the worst pairs side by side."""

import base64
import html
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from braintumor import NOTICE
from braintumor.models.labels import CLASSES
from braintumor.training.audit import NEAR, Audit, Pair
from braintumor.training.data import Dataset
from braintumor.training.splits import SPLITS, Split

__all__ = ["audit_page"]

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24 }
table { border-collapse: collapse; margin: 1rem 0 }
td { border-bottom: 1px solid #d0d7de; padding: .3rem 1.2rem .3rem 0 }
td:last-child { text-align: right; font-variant-numeric: tabular-nums }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1.2rem }
figure { margin: 0; padding: .6rem; border: 1px solid #d0d7de; border-radius: 6px } figure img { width: 48% }
figcaption { font-size: 13px; overflow-wrap: anywhere } .bad { color: #b42318; font-weight: 600 }
"""


def audit_page(findings: Audit, pairs: Sequence[Pair], parts: dict[Split, Dataset], *, shown: int = 48) -> str:
    """The page as text.

    Args:
        findings: What was found.
        pairs: Worst first.
        parts: The audited images, for the pictures.
        shown: How many pairs.
    """
    figures = "\n".join(_figure(pair, parts) for pair in pairs[:shown])
    rows = "\n".join(f"<tr><td>{html.escape(name)}</td><td>{value:,}</td></tr>" for name, value in _table(findings))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Data audit</title><style>{_STYLE}</style></head><body>
<h1>Data audit</h1>
<p>Near-duplicates are images whose 64-bit perceptual hashes (pHash) differ in {NEAR} bits or fewer. A network that
is tested on a picture it was trained on is tested on its memory: figures on the test split are to be read
beside those on its near-duplicate-free part.</p>
<table>{rows}</table>
<h2>The worst {min(shown, len(pairs))} of {len(pairs):,} pairs</h2>
<p>Pairs with different labels first, then pairs across the border of the test split, then by distance.</p>
<div class="pairs">{figures}</div>
<p>{html.escape(NOTICE)}</p></body></html>
"""


def _table(found: Audit) -> list[tuple[str, int]]:
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


def _figure(pair: Pair, parts: dict[Split, Dataset]) -> str:
    first, second = _image(pair.first, parts), _image(pair.second, parts)
    labels = (
        f'<span class="bad">{first[1]} and {second[1]}</span>' if first[1] != second[1] else html.escape(first[1])
    )
    kind = "exact copy" if pair.exact else f"{pair.distance} bits"
    mirrored = "" if pair.flip == "none" else f", mirrored {pair.flip}"
    return (
        f'<figure><img alt="first" src="{first[2]}"> <img alt="second" src="{second[2]}">'
        f"<figcaption>{labels}: {kind}{mirrored}<br>{html.escape(first[0])}<br>{html.escape(second[0])}"
        "</figcaption></figure>"
    )


def _image(index: int, parts: dict[Split, Dataset]) -> tuple[str, str, str]:
    """File with its split, label, and the picture as a data address."""
    for split in SPLITS:
        data = parts[split]
        if index < len(data):
            label = CLASSES[int(data.labels[index])]
            return f"{split}: {data.files[index]}", label, _address(data.images[index])
        index -= len(data)
    raise IndexError(index)


def _address(pixels: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((160, 160)).save(stream, format="JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
