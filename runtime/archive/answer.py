"""Answering an archive: each image that has no record in the results file gets one, as soon as it is answered."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from braintumor.runtime.archive.audit import AuditLog
from braintumor.runtime.archive.known import content_hash
from braintumor.runtime.archive.results import Appender, ResultsFile
from braintumor.runtime.archive.run import RunFile
from braintumor.runtime.ensemble import DEFAULT_BATCH_SIZE, Ensemble
from braintumor.runtime.image.batching import prepared_groups
from braintumor.runtime.image.sandbox import Sandbox
from braintumor.runtime.prediction import Prediction

__all__ = ["ArchiveRun"]

# Reading waits for the disk more than it computes.
_HASH_THREADS: Final = 2


def _nothing(_: int) -> None:
    """Report nothing."""


@dataclass(slots=True)
class ArchiveRun:
    """A run that may go on with an earlier one.

    Attributes:
        ensemble: Answers.
        results: The file that this run goes on with.
        appender: Writes its records.
        run_file: Counts.
        audit: Gets a line for each answer, before the record is written; None for no log.
        batch_size: Images that go through the members together.
        decode_threads: As of `Ensemble.predict_many`.
        sandbox: As of `Ensemble.predict_many`.
        on_images: Called with the number of images that are done, known ones included.
    """

    ensemble: Ensemble
    results: ResultsFile
    appender: Appender
    run_file: RunFile
    audit: AuditLog | None = None
    batch_size: int = DEFAULT_BATCH_SIZE
    decode_threads: int | None = None
    sandbox: Sandbox | bool = False
    on_images: Callable[[int], object] = _nothing

    def answer(self, paths: Iterable[str]) -> None:
        """Answer those images that have no record, in their order.

        Args:
            paths: Read lazily. Where they end early, what was read until then is answered.

        Raises:
            OutputError: The disk is full, or has gone. Every record that was written stays.
        """
        hashes: dict[str, str | None] = {}
        predictions = self.ensemble.predict_many(
            self._without_record(paths, hashes),
            batch_size=self.batch_size,
            decode_threads=self.decode_threads,
            sandbox=self.sandbox,
        )
        with contextlib.closing(predictions):  # type: ignore[type-var]  # a generator has close()
            for prediction in predictions:
                self._write(_with_hash(prediction, hashes))

    def sync(self) -> None:
        """Wait until all records are on the disk."""
        if self.audit is not None:
            self.audit.sync()
        self.appender.sync()

    def _write(self, prediction: Prediction) -> None:
        if self.audit is not None:
            self.audit.append(prediction)
        self.appender.append(prediction)
        self.run_file.count(prediction)
        self.on_images(1)

    def _without_record(self, paths: Iterable[str], hashes: dict[str, str | None]) -> Iterator[str]:
        """The images to be answered; `hashes` gets what their files hold."""
        groups = prepared_groups(paths, _hashed, group_size=self.batch_size, threads=_HASH_THREADS)
        with contextlib.closing(groups):  # type: ignore[type-var]  # a generator has close()
            for path, sha256 in (pair for group in groups for pair in group):
                failed = self.results.claim(path, sha256)
                if failed is None:
                    hashes[path] = sha256
                    yield path
                else:
                    self.run_file.count_known(failed=failed)
                    self.on_images(1)


def _hashed(path: str) -> tuple[str, str | None]:
    return path, content_hash(path)


def _with_hash(prediction: Prediction, hashes: dict[str, str | None]) -> Prediction:
    """With the hash of the bytes also where they are not an image: by it the record of the error is known again."""
    image = prediction.input
    sha256 = hashes.pop(image.path or "", None)
    return prediction if image.sha256 is not None else replace(prediction, input=replace(image, sha256=sha256))
