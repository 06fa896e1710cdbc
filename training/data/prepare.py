"""From any copy of the data set to the 5,618 / 702 / 703 split, matched by file name."""

import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.data.manifest import SPLITS, ManifestRow, Split
from braintumor.errors import InputError, OutputError, UsageError
from braintumor.models.labels import CLASSES, canonical_label
from braintumor.runtime.image.decode import read_grey
from braintumor.runtime.image.folder import list_images
from braintumor.runtime.image.resize import resize
from braintumor.training.data.dataset import Dataset
from braintumor.training.data.hashing import distances, phash

__all__ = ["MAX_HASH_DISTANCE", "PREPARED_SIZE", "Preparation", "prepare_dataset", "unpacked"]

PREPARED_SIZE = 224
"""Pixels a side of the stored images; training resizes them further down."""

MAX_HASH_DISTANCE = 6
"""Differing bits of the perceptual hash up to which a file counts as the manifest's image."""

_LISTED = 5


@dataclass(frozen=True, slots=True, eq=False)
class Preparation:
    """A copy of the data set, matched with the manifest.

    Attributes:
        parts: The images by split, in the manifest's order.
        missing: Manifest names without a usable file.
        foreign: Files that the manifest does not know, relative to the folder.
        unreadable: Files that are not images, with the reason.
        relabelled: Files in another class's folder than the manifest says.
        different: Files whose picture is not the manifest's, with the hash distance in bits.
        hidden: A line about hidden files that were left out, where there are some.
    """

    parts: dict[Split, Dataset]
    missing: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    relabelled: tuple[str, ...] = ()
    different: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every image of the manifest has a file."""
        return not self.missing

    def supports(self, split: Split) -> dict[str, int]:
        """Count images by class."""
        counts = np.bincount(self.parts[split].labels, minlength=len(CLASSES))
        return {name: int(count) for name, count in zip(CLASSES, counts, strict=True)}

    def lacking(self) -> list[str]:
        """List splits without an image of a class, such as "test/glioma", which training and evaluation need."""
        supports = {split: self.supports(split) for split in SPLITS}
        return [f"{split}/{name}" for split in SPLITS for name in CLASSES if not supports[split][name]]

    def to_json(self) -> dict[str, Any]:
        """Convert all findings to plain data, schema `braintumor.data-findings/1`."""
        kinds = ("missing", "foreign", "unreadable", "relabelled", "different")
        supports = {split: self.supports(split) for split in SPLITS}
        return {"schema": "braintumor.data-findings/1", "supports": supports} | {
            kind: list(getattr(self, kind)) for kind in kinds
        }

    def findings(self) -> list[str]:
        """Describe all findings, one line a kind, with the first few names."""
        kinds = {
            "missing": self.missing,
            "foreign (left out)": self.foreign,
            "unreadable": self.unreadable,
            "in another class's folder": self.relabelled,
            "another picture under a known name": self.different,
        }
        lines = [f"{len(names)} {kind}: {_few(names)}" for kind, names in kinds.items() if names]
        return [*lines, *self.hidden]


@dataclass(slots=True)
class _Findings:
    images: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    relabelled: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)


@contextmanager
def unpacked(source: Path) -> Iterator[Path]:
    """Give the folder of a copy of the data set; a `.zip` is unpacked for as long as the block runs.

    Raises:
        UsageError: It is not there.
        InputError: Neither a folder nor an archive, or a damaged one.
        OutputError: There is no room to unpack it.
    """
    if source.is_dir():
        yield source
        return
    if not source.exists():
        raise UsageError(f"{source} is not there", "name the folder or the .zip archive of a copy of the data set")
    try:
        archive = zipfile.ZipFile(source)
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{source} is neither a folder nor a .zip archive ({error})", "name a copy of the data set"
        ) from error
    with archive, tempfile.TemporaryDirectory(prefix="braintumor-") as folder:
        _unpack(archive, source, folder)
        yield Path(folder)


def _unpack(archive: zipfile.ZipFile, source: Path, folder: str) -> None:
    try:
        # Member names stay inside the folder; symbolic links come out as plain files.
        archive.extractall(folder)
    except OSError as error:
        raise OutputError(
            f"{source} cannot be unpacked into {folder} ({error.strerror})",
            "make room there, or unpack it elsewhere and name the folder",
        ) from error
    # RuntimeError: it wants a password. NotImplementedError: a compression that Python lacks.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise InputError(
            f"{source} cannot be unpacked ({error})",
            "get it again, or unpack it with another program and name the folder",
        ) from error


def prepare_dataset(
    folder: Path, rows: Sequence[ManifestRow], *, tick: Callable[[], None] = lambda: None
) -> Preparation:
    """Match the files below a folder with the manifest, decode and resize them.

    Files are known by their name without extension; the folder above must name their class.

    Args:
        folder: Has, at any depth, one folder a class ("notumor" and the like are understood).
        rows: The manifest.
        tick: Called once a file.

    Raises:
        UsageError: Not the four class folders, or one of them has no image, or the manifest knows none of them.
    """
    findings = _Findings()
    files = _files_by_class(folder, findings.hidden)
    rows_by_stem = {Path(row.file).stem.lower(): row for row in rows}
    for label, path in files:
        _take(findings, path, str(path.relative_to(folder)), label, rows_by_stem)
        tick()
    if len(findings.foreign) == len(files):
        raise UsageError(
            f"none of the {len(files)} images below {folder} has a name of the manifest (here "
            f"{_few(findings.foreign)}; there {_few([row.file for row in rows])})",
            "name the manifest of this copy with `manifest`, or get the data set with bt-data fetch",
        )
    parts: dict[Split, Dataset] = {}
    for split in SPLITS:
        available = [row for row in rows if row.split == split and row.file in findings.images]
        empty = np.zeros((0, PREPARED_SIZE, PREPARED_SIZE), np.uint8)
        parts[split] = Dataset(
            images=np.stack([findings.images[row.file] for row in available]) if available else empty,
            labels=np.array([CLASSES.index(row.label) for row in available], dtype=np.int64),
            files=tuple(row.file for row in available),
        )
    return Preparation(
        parts=parts,
        missing=tuple(row.file for row in rows if row.file not in findings.images),
        foreign=tuple(findings.foreign),
        unreadable=tuple(findings.unreadable),
        relabelled=tuple(findings.relabelled),
        different=tuple(findings.different),
        hidden=tuple(findings.hidden),
    )


def _files_by_class(folder: Path, hidden: list[str]) -> list[tuple[str, Path]]:
    paths = list_images(folder, hidden.append)
    files = [(canonical_label(path.parent.name), path) for path in paths]
    counts = Counter(label for label, _ in files)
    missing = [name for name in CLASSES if not counts[name]]
    if missing:
        others = sorted({path.parent.name for label, path in files if label not in CLASSES})
        raise UsageError(
            f"{folder} has no image in a folder for {', '.join(missing)}; the folders with images are called "
            f"{', '.join(sorted(counts)) or 'nothing: there are none'}"
            + (f" ({_few(others)} are not known)" if others else ""),
            f"name them {', '.join(CLASSES)} (or notumor for healthy), at any depth",
        )
    return [(label, path) for label, path in files if label in CLASSES]


def _take(findings: _Findings, path: Path, name: str, label: str, rows_by_stem: dict[str, ManifestRow]) -> None:
    row = rows_by_stem.get(path.stem.lower())
    if row is None:
        findings.foreign.append(name)
        return
    try:
        pixels = read_grey(path).pixels
    except InputError as error:
        findings.unreadable.append(str(error))
        return
    distance = int(distances(np.array([phash(pixels)], np.uint64), np.array([row.phash], np.uint64))[0, 0])
    if distance > MAX_HASH_DISTANCE:
        findings.different.append(f"{name} ({distance} bits)")
        return
    if label != row.label:
        findings.relabelled.append(f"{name} (manifest: {row.label})")
    findings.images[row.file] = resize(pixels, PREPARED_SIZE, PREPARED_SIZE)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
