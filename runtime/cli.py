"""`bt-infer`: answer images with a bundle."""

import contextlib
import functools
import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from braintumor import NOTICE
from braintumor.command import (
    EPILOG,
    Command,
    debug_option,
    in_options,
    require_signature_option,
    version_option,
)
from braintumor.errors import UsageError
from braintumor.progress import ProgressDisplay
from braintumor.runtime.archive.options import ArchiveOptions, archive_options
from braintumor.runtime.engines.registry import AUTO, ENGINES

if TYPE_CHECKING:
    from braintumor.runtime.archive.audit import AuditLog
    from braintumor.runtime.bundle.load import Bundle
    from braintumor.runtime.current_verdict import Requirement
    from braintumor.runtime.ensemble import Ensemble
    from braintumor.runtime.image.sandbox import Sandbox
    from braintumor.runtime.prediction import Policy, Prediction

__all__ = ["main"]

# Names only: the renderers load NumPy, and --help must not.
_FORMATS = ("table", "json", "jsonl", "csv")
_POLICIES = ("full", "early-exit", "cascade")
_ENGINE_HELP = "Library that runs the models; auto tests once which is fastest."
# A progress bar for more than a few images.
_PROGRESS_FROM = 9

_SOME_FAILED = 3

# Of images that will arrive.
_UNKNOWN_NUMBER = 1 << 30

# Endings that promise no format.
_TEXT = ("", "txt", "log", "ndjson")


@click.command(cls=Command, epilog=EPILOG)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option(
    "--bundle",
    metavar="DIR",
    help="Bundle to use.  [default: $BRAINTUMOR_BUNDLE, the last accepted in ./bundles, or the models that come "
    "with the package, exported at the first run]",
)
@require_signature_option
@click.option(
    "--require",
    type=click.Choice(("accepted",)),
    help="Answer only with a bundle that bt-bench accuracy accepted on this engine and version.",
)
@click.option("--no-starter", is_flag=True, help="Do not export the models that come with the package.")
@click.option("--engine", type=click.Choice((AUTO, *ENGINES)), default=AUTO, show_default=True, help=_ENGINE_HELP)
@click.option("--device", metavar="cuda:N", help="GPU to use, for an engine that runs on one.")
@click.option(
    "--policy",
    type=click.Choice(_POLICIES),
    default=_POLICIES[0],
    show_default=True,
    help="early-exit skips models that can no longer change an image's label; cascade also those that are not "
    "needed to be sure, at the risk that the bundle states.",
)
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Images at a time.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads.  [default: the engine's choice]")
@click.option(
    "--sandbox/--no-sandbox",
    default=None,
    help="Decode images in processes of their own, within limits; a file that hangs or crashes a decoder then costs "
    "its own record only.  [default: for more than one image]",
)
@click.option(
    "--image-seconds",
    type=click.FloatRange(0, min_open=True),
    default=5.0,
    show_default=True,
    help="Time in which an image must be decoded, in the sandbox.",
)
@click.option(
    "--image-mb",
    type=click.IntRange(1),
    default=512,
    show_default=True,
    help="Memory that decoding an image may take, in the sandbox.",
)
@click.option("--format", "form", type=click.Choice(_FORMATS), help="[default: table at a terminal, otherwise jsonl]")
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Save the answers to FILE (.csv, .json, .jsonl, .txt) when all are done; with --resume as they come.",
)
@archive_options
@debug_option
@version_option
def infer(  # noqa: PLR0913 - one parameter an option of the command
    *,
    paths: tuple[str, ...],
    bundle: str | None,
    public_key: Path | None,
    require: "Requirement | None",
    no_starter: bool,
    engine: str,
    device: str | None,
    policy: "Policy",
    batch_size: int,
    threads: int | None,
    sandbox: bool | None,
    image_seconds: float,
    image_mb: int,
    form: str | None,
    output: Path | None,
    archive: ArchiveOptions,
) -> None:
    """Classify brain MRI slices: glioma, healthy, meningioma or pituitary, or the classes of your own bundle.

    PATH is an image file (PNG, JPEG, TIFF, BMP), a folder (searched recursively), a glob, or - for a list of
    paths on standard input.
    """
    from braintumor.runtime.inputs import expand, find_bundle, no_bundle

    archive.check(output)
    sources = [] if archive.watch else expand(paths, _stdin_lines(), note=_say)
    folder = find_bundle(bundle, note=_say)
    if folder is None and no_starter:
        raise no_bundle()
    _refuse_overwriting(output, sources, folder)
    form = form or _default_format(output)
    options = {"device": device, "threads": threads, "policy": policy, "public_key": public_key, "require": require}
    load = functools.partial(_load, folder, in_table=_is_table_shown(form, output), **options)
    images = _UNKNOWN_NUMBER if archive.watch else len(sources)
    limits = {"image_seconds": image_seconds, "image_mb": image_mb}
    decoders = functools.partial(_sandbox, images, threads, chosen=sandbox, **limits)
    if archive.resume and output is not None:
        from braintumor.runtime.archive.command import ArchiveRequest, answer_archive

        request = ArchiveRequest(paths, sources, output, form, engine, batch_size, threads)
        run = answer_archive(request, archive, load=load, decoders=decoders, say=_say)
        some_failed = bool(run.run.failed or run.run.known_failed)
    else:
        # The output first: that it cannot be written is an error before the seconds that loading takes, and nothing
        # that can fail or be interrupted comes after it was replaced.
        with (
            archive.open_audit(_say) as audit,
            _open_output(output) as stream,
            decoders() as processes,
            load(engine=engine) as ensemble,
        ):
            batches = {"batch_size": batch_size, "decode_threads": threads, "sandbox": processes}
            predictions = _predictions(ensemble, sources, audit, **batches)
            some_failed = _write(predictions, len(sources), stream, form, ensemble.bundle)
    if form != "table" and sys.stderr.isatty():
        click.echo(NOTICE, err=True)
    if some_failed:
        sys.exit(_SOME_FAILED)


def _predictions(
    ensemble: "Ensemble", sources: Sequence[str], audit: "AuditLog | None", **options: Any
) -> "Iterator[Prediction]":
    """The predictions, each in the audit log before it is handed on."""
    predictions = ensemble.predict_many(sources, **options)
    if audit is None:
        return predictions
    audit.begin(ensemble)
    return audit.logged(predictions)


def _write(predictions: "Iterable[Prediction]", total: int, stream: TextIO, form: str, bundle: "Bundle") -> bool:
    """Write all predictions, and what is to be said about them; returns whether some failed."""
    from braintumor.runtime.bundle_lines import caution_lines
    from braintumor.runtime.output import RENDERERS

    renderer = RENDERERS[form](stream, bundle, total)
    failures, partly = [], 0
    for prediction in _with_progress(predictions, total, hidden=stream.isatty()):
        renderer.write(prediction)
        if prediction.error is not None:
            failures.append(prediction.error["message"])
        partly += (prediction.input.frames or 1) > 1
    renderer.finish()
    for line in caution_lines(bundle) if form != "table" else ():
        _say(line)
    if partly:
        _say(f"of {partly} images with several frames only the first was read")
    if failures:
        first = "first: " if len(failures) > 1 else ""
        _say(f"{total - len(failures)} of {total} answered; {len(failures)} failed: {first}{failures[0]}")
    return bool(failures)


def _say(line: str) -> None:
    click.echo(in_options(line), err=True)


@contextlib.contextmanager
def _sandbox(images: int, threads: int | None, *, chosen: bool | None, **limits: Any) -> "Iterator[Sandbox | bool]":
    """The processes that decode; they start while the models are loaded. False for none."""
    if not (images > 1 if chosen is None else chosen):
        yield False
        return
    from braintumor.runtime.image.sandbox import MAX_PROCESSES, Sandbox

    count = min(threads or MAX_PROCESSES, os.cpu_count() or 1, MAX_PROCESSES, images)
    with Sandbox(processes=count, **limits) as sandbox:
        yield sandbox


def _load(folder: Path | None, *, in_table: bool, **options: Any) -> "Ensemble":
    """The ensemble; steps that take long at the first time are shown, and a verdict, unless a table will show it."""
    from braintumor.runtime.bundle_lines import verdict_caution
    from braintumor.runtime.ensemble import Ensemble
    from braintumor.runtime.output import choice_line

    with ProgressDisplay() as display:
        ensemble = Ensemble.load(
            folder,
            on_choice=lambda choice: display.write(choice_line(choice)),
            progress=display.show,
            **options,
        )
    if not in_table and (caution := verdict_caution(ensemble.bundle, ensemble.engine_info)):
        _say(caution)
    return ensemble


def _stdin_lines() -> Iterable[str]:
    """Lines of standard input. A file name may hold bytes that are not text: they are kept, as in arguments."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    return sys.stdin or ()


def _default_format(output: Path | None) -> str:
    if output is None:
        return "table" if sys.stdout.isatty() else "jsonl"
    suffix = output.suffix.lower().removeprefix(".")
    if suffix in _FORMATS:
        return suffix
    if suffix in _TEXT:
        return "jsonl"
    raise UsageError(
        f"--output {output}: no format is called {suffix!r}; allowed are {', '.join(_FORMATS)}",
        "name the file so, or give --format",
    )


def _is_table_shown(form: str, output: Path | None) -> bool:
    return form == "table" and output is None and sys.stdout.isatty()


def _refuse_overwriting(output: Path | None, sources: Sequence[str], bundle: Path | None) -> None:
    """Refuse to write over what cannot be made again: an image, or a part of the bundle."""
    from braintumor.runtime.image.formats import HEAD_BYTES, detect_format

    if output is None:
        return
    target = output.resolve()
    if bundle is not None and target.is_relative_to(bundle.resolve()):
        raise UsageError(
            f"--output {output} lies in the bundle {bundle}, to which nothing may be added", "name another place"
        )
    if not target.is_file():
        return
    with contextlib.suppress(OSError), target.open("rb") as stream:
        if kind := detect_format(stream.read(HEAD_BYTES)):
            raise UsageError(f"--output {output} is a {kind} image, which would be lost", "name another file")
    if any(os.path.exists(source) and os.path.samefile(source, target) for source in sources):  # noqa: PTH110, PTH121 - a Path raises where a name is too long
        raise UsageError(f"--output {output} is one of the inputs, which would be lost", "name another file")


@contextlib.contextmanager
def _open_output(output: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that appears when all is written."""
    if output is None:
        yield sys.stdout
        return
    from braintumor.files import atomic_text

    if output.is_dir():
        raise UsageError(f"--output {output} is a folder", "name a file")
    with atomic_text(output) as stream:
        yield stream


def _with_progress(predictions: "Iterable[Prediction]", total: int, *, hidden: bool) -> "Iterator[Prediction]":
    """Show a bar on standard error, unless the predictions themselves scroll past at the terminal."""
    if hidden or total < _PROGRESS_FROM or not sys.stderr.isatty():
        yield from predictions
        return
    with ProgressDisplay() as display:
        display.begin("images", total)
        for prediction in predictions:
            yield prediction
            display.tick()


def main() -> None:
    """Run `bt-infer`."""
    infer()
