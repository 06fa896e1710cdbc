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
from braintumor.runtime.image.decode import SUFFIXES, read_grey
from braintumor.runtime.image.resize import resize
from braintumor.training.data.dataset import Dataset
from braintumor.training.data.hashing import distances, phash

__all__ = ["MAX_HASH_DISTANCE", "PREPARED_SIZE", "Preparation", "opened", "prepare"]

PREPARED_SIZE = 224
"""Pixels a side of the stored images; training resizes them further down."""

MAX_HASH_DISTANCE = 6
"""Differing bits of the perceptual hash up to which a file counts as the manifest's image."""

_LISTED = 5


@dataclass(frozen=True, slots=True, eq=False)
class Preparation:
    """What was found in a copy of the data set.

    Attributes:
        parts: The images by split, in the manifest's order.
        missing: Manifest names without a usable file.
        foreign: Files that the manifest does not know, relative to the folder.
        unreadable: Files that are no image, with the reason.
        relabelled: Files in another class's folder than the manifest says.
        different: Files whose picture is not the manifest's, with the hash distance in bits.
    """

    parts: dict[Split, Dataset]
    missing: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    relabelled: tuple[str, ...] = ()
    different: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every image of the manifest was found."""
        return not self.missing

    def supports(self, split: Split) -> dict[str, int]:
        """Images by class."""
        counts = np.bincount(self.parts[split].labels, minlength=len(CLASSES))
        return {name: int(count) for name, count in zip(CLASSES, counts, strict=True)}

    def lacking(self) -> list[str]:
        """Splits without an image of a class, such as "test/glioma": nothing can be trained or judged with those."""
        supports = {split: self.supports(split) for split in SPLITS}
        return [f"{split}/{name}" for split in SPLITS for name in CLASSES if not supports[split][name]]

    def to_json(self) -> dict[str, Any]:
        """All findings in full, as plain data, schema `braintumor.data-findings/1`."""
        kinds = ("missing", "foreign", "unreadable", "relabelled", "different")
        supports = {split: self.supports(split) for split in SPLITS}
        return {"schema": "braintumor.data-findings/1", "supports": supports} | {
            kind: list(getattr(self, kind)) for kind in kinds
        }

    def findings(self) -> list[str]:
        """What is not as it should be, one line a kind, with the first few names."""
        kinds = {
            "missing": self.missing,
            "foreign (left out)": self.foreign,
            "unreadable": self.unreadable,
            "in another class's folder": self.relabelled,
            "another picture under a known name": self.different,
        }
        return [f"{len(names)} {kind}: {_few(names)}" for kind, names in kinds.items() if names]


@dataclass(slots=True)
class _Finds:
    images: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    relabelled: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)


@contextmanager
def opened(source: Path) -> Iterator[Path]:
    """The folder of a copy of the data set; a `.zip` is unpacked for as long as the block runs.

    Raises:
        UsageError: It is not there.
        InputError: Neither a folder nor an archive, or a damaged one.
        OutputError: There is no room to unpack it.
    """
    if source.is_dir():
        yield source
        return
    if not source.exists():
        raise UsageError(f"{source} is not there; name the folder or the .zip archive of a copy of the data set")
    try:
        archive = zipfile.ZipFile(source)
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{source} is neither a folder nor a .zip archive ({error})") from error
    with archive, tempfile.TemporaryDirectory(prefix="braintumor-") as folder:
        _unpack(archive, source, folder)
        yield Path(folder)


def _unpack(archive: zipfile.ZipFile, source: Path, folder: str) -> None:
    try:
        # Member names stay inside the folder; symbolic links come out as plain files.
        archive.extractall(folder)
    except OSError as error:
        raise OutputError(
            f"{source} cannot be unpacked into {folder} ({error.strerror}); make room there, or unpack it elsewhere "
            "and name the folder"
        ) from error
    # RuntimeError: it wants a password. NotImplementedError: a compression that Python lacks.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise InputError(
            f"{source} cannot be unpacked ({error}); get it again, or unpack it with another program and name the "
            "folder"
        ) from error


def prepare(folder: Path, rows: Sequence[ManifestRow], *, tick: Callable[[], None] = lambda: None) -> Preparation:
    """Match the files below a folder with the manifest, decode and resize them.

    Files are known by their name without extension; the folder above must name their class.

    Args:
        folder: Has, at any depth, one folder a class ("notumor" and the like are understood).
        rows: The manifest.
        tick: Called once a file.

    Raises:
        UsageError: Not the four class folders, or one of them has no image, or the manifest knows none of them.
    """
    files = _files_by_class(folder)
    known = {Path(row.file).stem.lower(): row for row in rows}
    finds = _Finds()
    for label, path in files:
        _take(finds, path, str(path.relative_to(folder)), label, known)
        tick()
    if len(finds.foreign) == len(files):
        raise UsageError(
            f"none of the {len(files)} images below {folder} has a name of the manifest (here {_few(finds.foreign)}; "
            f"there {_few([row.file for row in rows])})",
            "name the manifest of this copy with `manifest`, or get the data set with bt-data fetch",
        )
    parts: dict[Split, Dataset] = {}
    for split in SPLITS:
        there = [row for row in rows if row.split == split and row.file in finds.images]
        empty = np.zeros((0, PREPARED_SIZE, PREPARED_SIZE), np.uint8)
        parts[split] = Dataset(
            images=np.stack([finds.images[row.file] for row in there]) if there else empty,
            labels=np.array([CLASSES.index(row.label) for row in there], dtype=np.int64),
            files=tuple(row.file for row in there),
        )
    return Preparation(
        parts=parts,
        missing=tuple(row.file for row in rows if row.file not in finds.images),
        foreign=tuple(finds.foreign),
        unreadable=tuple(finds.unreadable),
        relabelled=tuple(finds.relabelled),
        different=tuple(finds.different),
    )


def _files_by_class(folder: Path) -> list[tuple[str, Path]]:
    found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES and path.is_file()]
    files = [(canonical_label(path.parent.name), path) for path in found]
    counts = Counter(label for label, _ in files)
    missing = [name for name in CLASSES if not counts[name]]
    if missing:
        others = sorted({path.parent.name for label, path in files if label not in CLASSES})
        raise UsageError(
            f"{folder} has no image in a folder for {', '.join(missing)}; the folders with images are called "
            f"{', '.join(sorted(counts)) or 'nothing: there are none'}"
            + (f" ({_few(others)} are not known)" if others else "")
            + f"; must be {', '.join(CLASSES)} (or notumor for healthy), at any depth"
        )
    return [(label, path) for label, path in files if label in CLASSES]


def _take(finds: _Finds, path: Path, name: str, label: str, known: dict[str, ManifestRow]) -> None:
    row = known.get(path.stem.lower())
    if row is None:
        finds.foreign.append(name)
        return
    try:
        pixels = read_grey(path).pixels
    except InputError as error:
        finds.unreadable.append(str(error))
        return
    distance = int(distances(np.array([phash(pixels)], np.uint64), np.array([row.phash], np.uint64))[0, 0])
    if distance > MAX_HASH_DISTANCE:
        finds.different.append(f"{name} ({distance} bits)")
        return
    if label != row.label:
        finds.relabelled.append(f"{name} (manifest: {row.label})")
    finds.images[row.file] = resize(pixels, PREPARED_SIZE, PREPARED_SIZE)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
