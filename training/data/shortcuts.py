"""Shortcuts: how well the class of an image can be told from things that are not anatomy.

A network learns whatever separates the classes. Where healthy slices come from one collection and tumours from
others, the size of the files or the width of the black border separates them, and a network may learn these instead
of the tumour. Each cue is given to a small classifier; what it gets right, cross-validated, says how much the cue
gives away.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from braintumor.bench.metrics.classification import HEALTHY
from braintumor.bench.metrics.intervals import Share
from braintumor.errors import UsageError
from braintumor.models.labels import canonical_label
from braintumor.optional import require
from braintumor.training.data.slices import read_slices

__all__ = [
    "Cue",
    "Cues",
    "ShortcutAudit",
    "audit_shortcuts",
    "columns",
    "file_cues",
    "name_pattern",
    "pixel_cues",
    "read_folder",
]

_FOLDS: Final = 5
_TREES: Final = 60
_FEWEST_CLASSES: Final = 2
_KERNEL: Final = 3
"""Pixels a side of the filter that finds noise."""
_DARK: Final = 0.08
"""Grey levels below this part of the largest one are background, as in the crop to the head."""

Cues = Mapping[str, NDArray[np.float64]]
"""By name of the cue: float64 [images, figures]."""


@dataclass(frozen=True, slots=True)
class Cue:
    """Accuracy from one cue alone.

    Attributes:
        name: Of the cue, such as "width and height"; "all of them" for all together.
        classes: Images whose class a small classifier tells from it, cross-validated.
        healthy: The same for healthy or not; None where the images have no class of that name, or no other.
    """

    name: str
    classes: Share
    healthy: Share | None


@dataclass(frozen=True, slots=True)
class ShortcutAudit:
    """Accuracies from all cues of a collection.

    Attributes:
        images: Of the collection.
        classes: Images by class.
        chance: Images that are right when all are taken for the largest class.
        healthy_chance: The same for healthy or not.
        cues: One a cue, and the last of all together.
        unreadable: Files that are not images, with the reason.
    """

    images: int
    classes: dict[str, int]
    chance: Share
    healthy_chance: Share | None
    cues: tuple[Cue, ...]
    unreadable: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Convert to plain data, schema `braintumor.shortcut-audit/1`."""
        return {"schema": "braintumor.shortcut-audit/1"} | asdict(self)


def audit_shortcuts(
    cues: Cues,
    labels: Sequence[str],
    *,
    unreadable: Sequence[str] = (),
    tick: Callable[[str], None] = lambda _: None,
) -> ShortcutAudit:
    """Measure how well a small classifier tells the class from each cue, and from all together.

    The classifier is a random forest of scikit-learn, cross-validated over 5 stratified folds.

    Args:
        cues: float64 [images, figures] by name.
        labels: The class of each image.
        unreadable: Files that had to be left out.
        tick: Takes the name of the next cue.

    Raises:
        UsageError: Fewer than two classes, or one with fewer images than folds.
    """
    counts = dict(sorted(Counter(labels).items()))
    if len(counts) < _FEWEST_CLASSES or min(counts.values()) < _FOLDS:
        available = ", ".join(f"{name} {count}" for name, count in counts.items()) or "no image"
        raise UsageError(
            f"found {available}; an audit of shortcuts needs two classes, each with {_FOLDS} images or more",
            "name a folder with one folder a class",
        )
    classes = np.array(labels)
    healthy = classes == HEALTHY if HEALTHY in counts else None
    rows = []
    for name, values in [*cues.items(), ("all of them", np.hstack(list(cues.values())))]:
        tick(name)
        rows.append(
            Cue(name, _accuracy(values, classes), _accuracy(values, healthy) if healthy is not None else None)
        )
    return ShortcutAudit(
        images=len(labels),
        classes=counts,
        chance=_largest(classes),
        healthy_chance=_largest(healthy) if healthy is not None else None,
        cues=tuple(rows),
        unreadable=tuple(unreadable),
    )


def _accuracy(values: NDArray[np.float64], truth: NDArray[Any]) -> Share:
    """Count the images that the cross-validated classifier gets right."""
    ensemble = require("sklearn.ensemble", extra="train", purpose="an audit of shortcuts")
    selection = require("sklearn.model_selection", extra="train", purpose="an audit of shortcuts")
    forest = ensemble.RandomForestClassifier(n_estimators=_TREES, min_samples_leaf=3, random_state=0)
    folds = selection.StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    answers = selection.cross_val_predict(forest, values, truth, cv=folds)
    return Share.of(int((answers == truth).sum()), len(truth))


def _largest(truth: NDArray[Any]) -> Share:
    return Share.of(int(np.unique(truth, return_counts=True)[1].max()), len(truth))


def read_folder(folder: Path, *, tick: Callable[[], None] = lambda: None) -> tuple[Cues, list[str], list[str]]:
    """Measure all images below a folder that has one folder a class, at any depth.

    Args:
        folder: What is read. "notumor" and other usual names are taken for `HEALTHY`.
        tick: Called after every file.

    Returns:
        The cues, the class of each image, and the files that are not images, with the reason.
    """
    rows, names, labels = [], [], []
    unreadable: list[str] = []
    for path, pixels in read_slices(folder, unreadable, tick):
        rows.append(file_cues(path) | pixel_cues(pixels))
        names.append(path.name)
        labels.append(canonical_label(path.parent.name))
    return columns(rows, names), labels, unreadable


def columns(rows: Sequence[Mapping[str, tuple[float, ...]]], names: Iterable[str]) -> Cues:
    """Stack the figures of single images into one array a cue, and the patterns of their names into one more."""
    stacked = {cue: np.array([row[cue] for row in rows], np.float64) for cue in (rows[0] if rows else ())}
    patterns = [name_pattern(name) for name in names]
    numbers = {pattern: number for number, pattern in enumerate(sorted(set(patterns)))}
    return stacked | {"file name": np.array([[numbers[pattern]] for pattern in patterns], np.float64)}


def file_cues(path: Path) -> dict[str, tuple[float, ...]]:
    """Measure a file that has been decoded before: bytes, pixels, shape, JPEG quality."""
    with Image.open(path) as image:
        width, height = image.size
        tables = getattr(image, "quantization", None) or {}
        coarseness = float(np.mean(tables[min(tables)])) if tables else 0.0
    return {
        "file size": (float(path.stat().st_size),),
        "width and height": (float(width), float(height)),
        "aspect ratio": (width / height,),
        "JPEG quantisation": (coarseness,),
    }


def pixel_cues(pixels: NDArray[np.uint8]) -> dict[str, tuple[float, ...]]:
    """Measure in pixels uint8 [height, width] what says nothing about anatomy."""
    grey = pixels.astype(np.float64)
    return {
        "border": _border(grey),
        "pure black": (float((pixels == 0).mean()),),
        "mean and deviation of grey": (float(grey.mean()), float(grey.std())),
        "noise": (_noise(grey),),
    }


def _border(grey: NDArray[np.float64]) -> tuple[float, ...]:
    """Dark rows and columns at each edge, as parts of the height and the width."""
    bright = grey > _DARK * max(grey.max(), 1)
    edges = []
    for line in (bright.any(axis=1), bright.any(axis=0)):
        filled = np.flatnonzero(line)
        first, last = (filled[0], filled[-1]) if len(filled) else (len(line), -1)
        edges += [float(first / len(line)), float(min(len(line) - 1 - last, len(line)) / len(line))]
    return tuple(edges)


def _noise(grey: NDArray[np.float64]) -> float:
    """Deviation of the noise in grey levels (J. Immerkaer, Fast noise variance estimation, 1996)."""
    if min(grey.shape) < _KERNEL:
        return 0.0
    across = grey[:, :-2] - 2 * grey[:, 1:-1] + grey[:, 2:]
    both = across[:-2] - 2 * across[1:-1] + across[2:]
    return float(np.sqrt(np.pi / 2) * np.abs(both).mean() / 6)


def name_pattern(name: str) -> str:
    """Take the numbers out of a file's name: "Tr-gl_0010.jpg" is "tr-gl_#.jpg"."""
    return re.sub(r"\d+", "#", name.lower())
