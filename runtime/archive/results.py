"""The results file of an archive: locked, read, healed, and continued by the same bundle, policy and engine."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from braintumor.errors import IntegrityError, UsageError
from braintumor.runtime.archive.journal import Extent, Journal, locked_by_this_process, whole_lines
from braintumor.runtime.archive.known import Known
from braintumor.runtime.archive.records import FORMATS, Identity, Record, RecordFormat
from braintumor.runtime.ensemble import Ensemble
from braintumor.runtime.prediction import Prediction

__all__ = ["Appender", "ResultsFile", "Totals", "identity_of"]


@dataclass(slots=True)
class Totals:
    """Counts of records.

    Attributes:
        answered: Records with a label.
        failed: Records of errors.
        labels: Label → number of records.
    """

    answered: int = 0
    failed: int = 0
    labels: Counter[str] = field(default_factory=Counter)

    def add(self, label: str | None) -> None:
        """Count a record; the label of an error is None."""
        if label is None:
            self.failed += 1
        else:
            self.answered += 1
            self.labels[label] += 1

    @property
    def records(self) -> int:
        """All of them."""
        return self.answered + self.failed


def identity_of(ensemble: Ensemble) -> Identity:
    """What the records of an ensemble's answers will name."""
    bundle, engine = ensemble.bundle, ensemble.engine
    return Identity(bundle.name, bundle.sha256, ensemble.policy, engine.name, engine.version)


class ResultsFile:
    """A results file that this process alone may write; make one with `ResultsFile.open`.

    Attributes:
        path: The file, behind links.
        form: "jsonl" or "csv".
        known: The images that have a record.
        identity: What made the records; None while there are none.
        totals: Of all records.
        extent: The whole part of the file, when it was opened.
    """

    def __init__(self, path: Path, form: str) -> None:
        """Read the file; `open` takes the lock before."""
        self.path, self.form = path, form
        self.known, self.totals = Known(), Totals()
        self.identity: Identity | None = None
        self._format: RecordFormat = FORMATS[form]()
        self._header = b""
        self.extent: Extent = whole_lines(path, self._format.opening, self._accept)

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path, form: str) -> Iterator[Self]:
        """Lock and read a results file; one that is missing has no records yet.

        Args:
            path: The file.
            form: A name of `FORMATS`.

        Raises:
            UsageError: The format cannot be continued, the path is not that of a file, or another process writes it.
            IntegrityError: It is not a results file, or damaged in another way than by a cut.
            OutputError: It cannot be read or written.
        """
        if form not in FORMATS:
            raise UsageError(
                f"`resume` cannot continue the format {form}: its records are not one a line",
                "name the file .jsonl or .csv",
            )
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            raise UsageError(f"{path} is not a file, so that nothing can be continued", "name a file")
        with locked_by_this_process(target):
            yield cls(target, form)

    def claim(self, path: str, sha256: str | None) -> bool | None:
        """Whether an image that has a record failed; None for an image without one. See `Known.claim`."""
        return self.known.claim(self._format.path_text(path), sha256)

    @contextlib.contextmanager
    def continued_by(self, ensemble: Ensemble) -> Iterator["Appender"]:
        """Cut off what is torn, and append the answers of an ensemble.

        Raises:
            UsageError: The records are of another bundle, policy or engine, or have other columns.
            OutputError: The file cannot be written.
        """
        self._check(identity_of(ensemble))
        header = self._format.header(ensemble.bundle)
        if self.extent.lines and self._header != header.rstrip(b"\n"):
            raise UsageError(f"{self.path} has other columns than this version writes", "name another file")
        with Journal(self.path, self.extent) as journal:
            if header and not self.extent.lines:
                journal.append(header)
            yield Appender(self, self._format, journal, ensemble)

    def _accept(self, line: bytes, number: int) -> str:
        try:
            record = self._format.parse(line, number)
        except ValueError as error:
            return f"it is not a record ({' '.join(str(error).split())})"
        if record is None:
            self._header = line
        else:
            self._add(record, number)
        return ""

    def _add(self, record: Record, number: int) -> None:
        if self.identity is None:
            self.identity = record.identity
        elif self.identity != record.identity:
            raise IntegrityError(
                f"{self.path} mixes answers: {_differences(self.identity, record.identity)} (line {number})",
                "name another file",
            )
        self.known.add(record.path, record.sha256, failed=record.label is None)
        self.totals.add(record.label)

    def _check(self, now: Identity) -> None:
        if self.identity is not None and (differences := _differences(self.identity, now)):
            raise UsageError(
                f"{self.path} is of {differences}; one file does not mix them",
                f"name another `output`, or use {' and '.join(_remedies(self.identity, now))}",
            )


class Appender:
    """Writes records into an open results file."""

    def __init__(self, results: ResultsFile, form: RecordFormat, journal: Journal, ensemble: Ensemble) -> None:
        self._results, self._format, self._journal, self._bundle = results, form, journal, ensemble.bundle

    def append(self, prediction: Prediction) -> None:
        """Write one record.

        Raises:
            OutputError: The disk is full, or has gone.
        """
        self._journal.append(self._format.line(prediction, self._bundle))
        self._results.totals.add(prediction.label)
        path = self._format.path_text(prediction.input.path or "")
        self._results.known.add(path, prediction.input.sha256, failed=prediction.error is not None)

    def sync(self) -> None:
        """Wait until all records are on the disk."""
        self._journal.sync()


def _differences(before: Identity, now: Identity) -> str:
    """The parts in which two differ, as "policy full, not cascade"; "" where they are the same."""
    parts = []
    if before.bundle_sha256 != now.bundle_sha256:
        name = f"{before.bundle} " if before.bundle else ""
        parts.append(f"bundle {name}({before.bundle_sha256[:12]}), not {now.bundle} ({now.bundle_sha256[:12]})")
    if before.policy != now.policy:
        parts.append(f"policy {before.policy}, not {now.policy}")
    if before.engine != now.engine:
        parts.append(f"engine {before.engine}, not {now.engine}")
    elif before.engine_version != now.engine_version:
        parts.append(f"engine version {before.engine_version}, not {now.engine_version}")
    return " and ".join(parts)


def _remedies(before: Identity, now: Identity) -> Iterator[str]:
    """What to run for the same answers as before."""
    if before.bundle_sha256 != now.bundle_sha256:
        yield "that `bundle`"
    if before.policy != now.policy:
        yield f"`policy='{before.policy}'`"
    if before.engine != now.engine:
        yield f"`engine='{before.engine}'`"
    elif before.engine_version != now.engine_version:
        yield before.engine_version
