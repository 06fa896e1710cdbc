"""Leakage in a data set: exact copies, near-duplicates, and test images that training has seen."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.data.manifest import SPLITS, ManifestRow, Split
from braintumor.bench.data.study import NEAR_BITS
from braintumor.optional import require
from braintumor.training.data.dataset import Dataset
from braintumor.training.data.hashing import distances, phashes

__all__ = ["NEAR", "Audit", "Pair", "audit_dataset", "near_duplicate_free"]

NEAR = NEAR_BITS
"""Differing bits of the perceptual hash up to which two images count as near-duplicates, as everywhere else."""

_THRESHOLDS = (0, 4, 6)
_ROWS_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class Pair:
    """Two similar images.

    Attributes:
        first: Index into the audited images (train, val, test, one after the other).
        second: Index of the other one.
        distance: Differing bits of the hashes.
        flip: How the first one is mirrored to match.
        exact: Whether all pixels are the same.
    """

    first: int
    second: int
    distance: int
    flip: str
    exact: bool


@dataclass(frozen=True, slots=True)
class Audit:
    """Counts of copies, near-duplicates and leakage.

    Attributes:
        images: Of all splits.
        unique: How many different pixel arrays there are.
        exact_extras: Images that are a pixel-exact copy of an earlier one.
        exact_across_classes: Groups of identical images filed under different classes.
        test_images: Size of the test split.
        test_with_exact_copy: Test images with a pixel-exact copy in train or val.
        test_with_neighbour: By largest distance in bits: test images with a neighbour in train or val.
        test_with_neighbour_flipped: The same, mirrored versions included.
        near_pairs: Pairs at `NEAR` bits and less, not mirrored, exact ones included.
        near_pairs_across_classes: Those with different labels.
        cluster_sizes: Number of clusters of near-duplicates by their size.
        largest_cluster: Images in the largest cluster.
    """

    images: int
    unique: int
    exact_extras: int
    exact_across_classes: int
    test_images: int
    test_with_exact_copy: int
    test_with_neighbour: dict[int, int]
    test_with_neighbour_flipped: dict[int, int]
    near_pairs: int
    near_pairs_across_classes: int
    cluster_sizes: dict[int, int]
    largest_cluster: int

    def to_json(self) -> dict[str, Any]:
        """Convert to plain data, schema `braintumor.data-audit/1`."""
        return {"schema": "braintumor.data-audit/1", "near_bits": NEAR} | asdict(self)


def near_duplicate_free(rows: Sequence[ManifestRow], distance: int = NEAR) -> frozenset[str]:
    """Name the test images with no neighbour within `distance` bits in train or val."""
    test = [row for row in rows if row.split == "test"]
    others = np.array([row.phash for row in rows if row.split != "test"], np.uint64)
    nearest = distances(np.array([row.phash for row in test], np.uint64), others).min(axis=1)
    return frozenset(row.file for row, bits in zip(test, nearest, strict=True) if bits > distance)


def audit_dataset(parts: dict[Split, Dataset]) -> tuple[Audit, list[Pair]]:
    """Look for copies and leakage.

    Args:
        parts: The images by split.

    Returns:
        The findings, and the pairs at `NEAR` bits and less, worst first: different labels, then a test image
        and one of train or val, then by distance.
    """
    images = np.concatenate([parts[split].images for split in SPLITS])
    labels = np.concatenate([parts[split].labels for split in SPLITS])
    is_test = np.concatenate([np.full(len(parts[split]), split == "test") for split in SPLITS])
    groups = _groups(images)
    plain = phashes(images)
    # Mirroring is symmetric: mirroring the first of a pair is enough.
    mirrored = {
        "left-right": phashes(images[:, :, ::-1]),
        "top-bottom": phashes(images[:, ::-1]),
        "both ways": phashes(images[:, ::-1, ::-1]),
    }
    pairs = _pairs(plain, plain, "none", groups)
    near = [pair for pair in pairs if pair.distance <= NEAR]
    flipped = [pair for name, hashes in mirrored.items() for pair in _pairs(hashes, plain, name, groups)]
    sizes = _cluster_sizes(len(images), near)
    findings = Audit(
        images=len(images),
        unique=len(set(groups.tolist())),
        exact_extras=len(images) - len(set(groups.tolist())),
        exact_across_classes=_mixed(groups, labels),
        test_images=int(is_test.sum()),
        test_with_exact_copy=int(np.isin(groups[is_test], groups[~is_test]).sum()),
        test_with_neighbour=_leaks(pairs, is_test),
        test_with_neighbour_flipped=_leaks([*pairs, *flipped], is_test),
        near_pairs=len(near),
        near_pairs_across_classes=sum(bool(labels[pair.first] != labels[pair.second]) for pair in near),
        cluster_sizes=dict(sorted(Counter(sizes).items())),
        largest_cluster=max(sizes, default=1),
    )
    shown = near + [pair for pair in flipped if pair.distance <= NEAR]
    shown.sort(key=lambda pair: _badness(pair, labels, is_test))
    return findings, shown


def _groups(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Number images, int64 [n]: those with equal pixels have equal numbers."""
    number: dict[bytes, int] = {}
    keys = [hashlib.sha256(image.tobytes()).digest() for image in images]
    return np.array([number.setdefault(key, len(number)) for key in keys], np.int64)


def _pairs(
    hashes: NDArray[np.uint64], others: NDArray[np.uint64], flip: str, groups: NDArray[np.int64]
) -> list[Pair]:
    """List all pairs first < second up to the largest threshold."""
    pairs = []
    for start in range(0, len(hashes), _ROWS_AT_ONCE):
        bits = distances(hashes[start : start + _ROWS_AT_ONCE], others)
        for row, second in np.argwhere(bits <= max(_THRESHOLDS)):
            first = start + int(row)
            if first < second:
                exact = flip == "none" and bool(groups[first] == groups[second])
                pairs.append(Pair(first, int(second), int(bits[row, second]), flip, exact))
    return pairs


def _leaks(pairs: list[Pair], is_test: NDArray[np.bool_]) -> dict[int, int]:
    nearest: dict[int, int] = defaultdict(lambda: 64)
    for pair in pairs:
        if is_test[pair.first] != is_test[pair.second]:
            test = pair.first if is_test[pair.first] else pair.second
            nearest[test] = min(nearest[test], pair.distance)
    return {bits: sum(distance <= bits for distance in nearest.values()) for bits in _THRESHOLDS}


def _mixed(groups: NDArray[np.int64], labels: NDArray[np.int64]) -> int:
    labels_by_group: dict[int, set[int]] = defaultdict(set)
    for group, label in zip(groups.tolist(), labels.tolist(), strict=True):
        labels_by_group[group].add(label)
    return sum(len(group_labels) > 1 for group_labels in labels_by_group.values())


def _cluster_sizes(count: int, pairs: list[Pair]) -> list[int]:
    """List the sizes of the connected components with two images and more."""
    sparse = require("scipy.sparse", extra="train", purpose="clustering images")
    graph = require("scipy.sparse.csgraph", extra="train", purpose="clustering images")
    ends = np.array([(pair.first, pair.second) for pair in pairs], np.int64).reshape(-1, 2)
    matrix = sparse.coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count))
    _, component = graph.connected_components(matrix, directed=False)
    return [int(size) for size in np.bincount(component) if size > 1]


def _badness(pair: Pair, labels: NDArray[np.int64], is_test: NDArray[np.bool_]) -> tuple[bool, bool, int, int]:
    same_label = bool(labels[pair.first] == labels[pair.second])
    same_side = bool(is_test[pair.first] == is_test[pair.second])
    return same_label, same_side, pair.distance, pair.first
