"""`bt-infer --resume`: an archive of images, answered in as many runs as it takes."""

import contextlib
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from braintumor.progress import ProgressDisplay
from braintumor.runtime.archive.answer import ArchiveRun
from braintumor.runtime.archive.options import ArchiveOptions, note_large_file
from braintumor.runtime.archive.results import ResultsFile
from braintumor.runtime.archive.run import Run, RunFile
from braintumor.runtime.archive.watch import Arrivals, check_folders, stop_on_signals
from braintumor.runtime.bundle_lines import caution_lines
from braintumor.runtime.engines.registry import AUTO
from braintumor.runtime.ensemble import Ensemble
from braintumor.runtime.image.sandbox import Sandbox

__all__ = ["ArchiveRequest", "answer_archive"]

# A progress bar for more than a few images.
_PROGRESS_FROM = 9


@dataclass(frozen=True, slots=True)
class ArchiveRequest:
    """What to answer, and where to.

    Attributes:
        paths: As they were typed.
        sources: The images that they stand for; none when watching.
        output: The results file.
        form: Its format.
        engine: A name, or "auto" for that of the results file, or the fastest.
        batch_size: Images at a time.
        threads: That decode; None for as many as there are CPUs.
    """

    paths: Sequence[str]
    sources: Sequence[str]
    output: Path
    form: str
    engine: str
    batch_size: int
    threads: int | None


def answer_archive(
    request: ArchiveRequest,
    options: ArchiveOptions,
    *,
    load: Callable[..., Ensemble],
    decoders: Callable[[], contextlib.AbstractContextManager[Sandbox | bool]],
    say: Callable[[str], object],
) -> Run:
    """Go on with a results file, or begin one.

    Args:
        request: What to answer.
        options: How.
        load: Loads the ensemble on the `engine` of that name.
        decoders: Starts the processes that decode; False for none.
        say: Shows a line.

    Raises:
        UsageError: Another process writes the file, or it is of another bundle, policy or engine.
        IntegrityError: It is not a results file.
        OutputError: It cannot be written.
        KeyboardInterrupt: With a note of how far the run came.
    """
    if options.watch:
        check_folders(request.paths)
    note_large_file(request.output, say)
    with ResultsFile.open(request.output, request.form) as results, options.open_audit(say) as audit:
        if results.totals.records:
            say(f"{request.output} has {results.totals.records} records")
        engine = results.identity.engine if results.identity and request.engine == AUTO else request.engine
        with (
            decoders() as sandbox,
            load(engine=engine) as ensemble,
            results.continued_by(ensemble) as appender,
            _interrupt_noted(request.output, results),
            RunFile.started(ensemble, results, shlex.join(["bt-infer", *sys.argv[1:]])) as run_file,
        ):
            if audit is not None:
                audit.begin(ensemble)
            archive_run = ArchiveRun(
                ensemble,
                results,
                appender,
                run_file,
                audit,
                batch_size=request.batch_size,
                decode_threads=request.threads,
                sandbox=sandbox,
            )
            if options.watch:
                _watch(archive_run, request.paths, say)
            else:
                _answer_all(archive_run, request.sources)
            archive_run.sync()
        run = run_file.summary("finished")
        for line in (*_summary_lines(run, request.output), *caution_lines(ensemble.bundle)):
            say(line)
        return run


def _answer_all(archive_run: ArchiveRun, sources: Sequence[str]) -> None:
    with ProgressDisplay() as display:
        if len(sources) >= _PROGRESS_FROM:
            display.begin("images", len(sources))
        archive_run.on_images = display.tick
        archive_run.answer(sources)


def _watch(archive_run: ArchiveRun, folders: Sequence[str], say: Callable[[str], object]) -> None:
    with stop_on_signals() as stop:
        say(f"watching {', '.join(folders)}; Ctrl-C ends")
        for arrived in stop.looks(Arrivals(folders)):
            if arrived:
                before = archive_run.results.totals.records
                archive_run.answer(stop.until(arrived))
                archive_run.run_file.write("running")
                if new := archive_run.results.totals.records - before:
                    say(f"{new} new records, {archive_run.results.totals.records} in all")
            archive_run.sync()


@contextlib.contextmanager
def _interrupt_noted(output: Path, results: ResultsFile) -> Iterator[None]:
    """Add to a Ctrl-C how far the run came."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"{output} has {results.totals.records} records; the same command goes on") from error


def _summary_lines(run: Run, output: Path) -> Iterator[str]:
    counts = run.run
    known = f", {counts.known} had their record" if counts.known else ""
    labels = Counter({name: count for name, count in run.file.labels.items() if count})
    listed = ", ".join(f"{count} {name}" for name, count in labels.most_common())
    records = run.file.answered + run.file.failed
    yield (
        f"{counts.answered} answered, {counts.failed} failed{known}; {output} has {records} records"
        f"{f': {listed}' if listed else ''}"
    )
    if run.first_errors:
        first = "first of the failed: " if counts.failed > 1 else "failed: "
        yield first + run.first_errors[0].message
