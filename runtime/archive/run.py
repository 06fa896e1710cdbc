"""The summary of a run that answers an archive (schema `braintumor.run/1`), beside its results file."""

import json
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from braintumor import NOTICE, __version__
from braintumor.errors import OutputError
from braintumor.files import atomic_text
from braintumor.runtime.archive.results import ResultsFile, Totals
from braintumor.runtime.ensemble import Ensemble
from braintumor.runtime.prediction import Prediction
from braintumor.system.cpu import cpu_model
from braintumor.system.fingerprint import library_versions

__all__ = ["SCHEMA", "Counts", "FirstError", "Run", "RunCounts", "RunFile", "RunStatus", "run_path", "utc_now"]

SCHEMA: Final = "braintumor.run/1"

RunStatus = Literal["running", "finished", "interrupted", "failed"]
"""A run whose process was killed stays "running"."""

_FIRST_ERRORS: Final = 10
# Between two writes of the summary of a run that goes on.
_PERIOD_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of images.

    Attributes:
        answered: With a label.
        failed: With an error.
        labels: Label → images, for every class of the bundle.
    """

    answered: int
    failed: int
    labels: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RunCounts(Counts):
    """Numbers of the images of a run.

    Attributes:
        known: Skipped, because the results file has their record.
        known_failed: Those of them whose record is an error.
    """

    known: int = 0
    known_failed: int = 0


@dataclass(frozen=True, slots=True)
class FirstError:
    """An image that failed.

    Attributes:
        path: As it was given.
        type: Of the error.
        message: In one line.
    """

    path: str
    type: str
    message: str


@dataclass(frozen=True, slots=True)
class Run:
    """One run; its fields are the keys of `results.run.json`.

    Attributes:
        status: "finished"; "interrupted" by a person or the system; "failed", as by a full disk; "running", also
            for a run whose process was killed.
        results: Name of the results file, which lies beside.
        results_format: "jsonl" or "csv".
        command: As it was typed.
        bundle: As in a prediction: name, sha256, precision, verdict.
        engine: As in a prediction: name, provider, device, version.
        policy: Of the ensemble.
        versions: Of braintumor, Python and the libraries that read images.
        cpu: The model's name.
        run: Counts of this run.
        file: Counts of all records in the results file.
        first_errors: At most ten, of this run.
        torn_bytes: Cut off the end of the results file at the start: a record that was not whole.
        started: UTC, as 2026-01-31T12:00:00.000Z.
        ended: UTC; None while it runs.
        duration_s: Until the end, or until now, in seconds.
    """

    status: RunStatus
    results: str
    results_format: str
    command: str
    bundle: Mapping[str, str]
    engine: Mapping[str, str]
    policy: str
    versions: Mapping[str, str]
    cpu: str
    run: RunCounts
    file: Counts
    first_errors: tuple[FirstError, ...] = ()
    torn_bytes: int = 0
    started: str = ""
    ended: str | None = None
    duration_s: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The run as plain data, ready for JSON, with its schema and the notice."""
        return {"schema": SCHEMA, **asdict(self), "notice": NOTICE}


def run_path(results: Path) -> Path:
    """The file of the summary of a results file: `results.run.json` beside `results.jsonl`."""
    return results.with_suffix(".run.json")


def utc_now() -> str:
    """The time in UTC, with milliseconds, by ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(slots=True)
class _Tally:
    """Counts of a run that goes on."""

    totals: Totals = field(default_factory=Totals)
    known: int = 0
    known_failed: int = 0
    errors: list[FirstError] = field(default_factory=list)


class RunFile:
    """Counts a run, and keeps its summary current on the disk."""

    def __init__(self, run: Run, path: Path, classes: tuple[str, ...], file: Totals) -> None:
        """Take over what is known at the start.

        Args:
            run: The run at its start.
            path: Of the summary.
            classes: Of the bundle.
            file: The totals of the results file, which grow with it.
        """
        self._run, self._path, self._classes, self._file = run, path, classes, file
        self._tally = _Tally()
        self._start_s = self._written_s = time.monotonic()

    @classmethod
    @contextmanager
    def started(cls, ensemble: Ensemble, results: ResultsFile, command: str) -> Iterator["RunFile"]:
        """Write the summary at the start of the block, and at its end with the way in which it ended.

        Args:
            ensemble: That answers.
            results: The open results file.
            command: As it was typed.

        Raises:
            OutputError: The summary cannot be written.
        """
        classes = ensemble.bundle.classes
        none = dict.fromkeys(classes, 0)
        run = Run(
            status="running",
            results=results.path.name,
            results_format=results.form,
            command=command,
            bundle=ensemble.bundle_info,
            engine=ensemble.engine_info,
            policy=ensemble.policy,
            versions=_versions(),
            cpu=cpu_model(),
            run=RunCounts(0, 0, none),
            file=Counts(0, 0, none),
            torn_bytes=results.extent.torn_bytes,
            started=utc_now(),
        )
        run_file = cls(run, run_path(results.path), classes, results.totals)
        run_file.write("running")
        try:
            yield run_file
        except (KeyboardInterrupt, SystemExit):
            with suppress(OutputError):
                run_file.write("interrupted")
            raise
        except BaseException:
            with suppress(OutputError):
                run_file.write("failed")
            raise
        run_file.write("finished")

    def count(self, prediction: Prediction) -> None:
        """Count an image that was answered now."""
        self._tally.totals.add(prediction.label)
        if prediction.error is not None and len(self._tally.errors) < _FIRST_ERRORS:
            error = prediction.error
            self._tally.errors.append(FirstError(prediction.input.path or "", error["type"], error["message"]))
        if time.monotonic() - self._written_s >= _PERIOD_S:
            self.write("running")

    def count_known(self, *, failed: bool) -> None:
        """Count an image that is skipped: it has its record."""
        self._tally.known += 1
        self._tally.known_failed += failed

    def summary(self, status: RunStatus) -> Run:
        """The run until now."""
        tally = self._tally
        return replace(
            self._run,
            status=status,
            run=RunCounts(*self._counts(tally.totals), tally.known, tally.known_failed),
            file=Counts(*self._counts(self._file)),
            first_errors=tuple(tally.errors),
            ended=None if status == "running" else utc_now(),
            duration_s=round(time.monotonic() - self._start_s, 3),
        )

    def write(self, status: RunStatus) -> None:
        """Replace the summary on the disk.

        Raises:
            OutputError: The disk is full, or has gone.
        """
        with atomic_text(self._path) as stream:
            json.dump(self.summary(status).to_dict(), stream, indent=1, allow_nan=False)
            stream.write("\n")
        self._written_s = time.monotonic()

    def _counts(self, totals: Totals) -> tuple[int, int, dict[str, int]]:
        return totals.answered, totals.failed, {name: totals.labels[name] for name in self._classes}


def _versions() -> dict[str, str]:
    installed = library_versions(("numpy", "pillow"))
    libraries = {name: version for name, version in installed.items() if version is not None}
    return {"braintumor": __version__, "python": platform.python_version(), **libraries}
