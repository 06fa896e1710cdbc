"""`bt-bench accuracy`: a gate for CI on the accuracy of deployed bundles."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from braintumor.bench.options import (
    PATH,
    REFUSED,
    data_option,
    data_source,
    device_option,
    margin_option,
    model_folders,
    models_option,
    policy_option,
    robustness_option,
    threads_option,
    typed_command,
)
from braintumor.command import EPILOG, Command, debug_option, require_signature_option
from braintumor.errors import IntegrityError, UsageError
from braintumor.progress import ProgressDisplay
from braintumor.runtime.engines.registry import AUTO, ENGINES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from braintumor.bench.accuracy.evaluate import BundleEvaluation
    from braintumor.bench.accuracy.options import AccuracyOptions
    from braintumor.bench.data.labelled import LabelledImages
    from braintumor.bench.result_file import ResultFile
    from braintumor.runtime.bundle.load import Bundle
    from braintumor.runtime.engine_selection import EngineChoice
    from braintumor.runtime.prediction import Policy

__all__ = ["accuracy"]

_ENGINE = click.Choice((AUTO, *ENGINES))
# Repeated here so that --help loads no NumPy; `bench.accuracy.reference` defines the same.
_KERAS, _NONE = "keras", "none"


@click.command(cls=Command, epilog=EPILOG)
@click.argument("bundles", metavar="BUNDLE...", nargs=-1, required=True, type=PATH)
@data_option
@click.option(
    "--images",
    "count",
    metavar="N",
    type=click.IntRange(4),
    help="Number of images, evenly by class; the verdict is then not written.  [default: all]",
)
@click.option(
    "--reference",
    metavar="keras|none|BUNDLE",
    default=_KERAS,
    show_default=True,
    help="Reference: the .keras files that the bundles were exported from, or another bundle.",
)
@click.option("--reference-engine", type=_ENGINE, default=AUTO, show_default=True, help="For a reference BUNDLE.")
@click.option("--engine", type=_ENGINE, default=AUTO, show_default=True, help="Library that runs the bundles.")
@device_option
@threads_option
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Images in a batch.")
@models_option
@margin_option
@robustness_option
@policy_option
@click.option("--json", "json_file", metavar="FILE", type=PATH, help="Write all figures there.")
@require_signature_option
@click.option("--no-record", is_flag=True, help="Do not write the verdict into the bundles.")
@click.option("--replace", is_flag=True, help="Write it also over a verdict on more images.")
@debug_option
def accuracy(  # noqa: PLR0913 - one parameter an option of the command
    *,
    bundles: tuple[Path, ...],
    data: Path | None,
    count: int | None,
    reference: str,
    reference_engine: str,
    engine: str,
    device: str | None,
    threads: int | None,
    batch_size: int,
    models: tuple[Path, ...],
    margin: float,
    robustness: int,
    policy: "Policy",
    json_file: Path | None,
    no_record: bool,
    replace: bool,
    public_key: Path | None,
) -> None:
    """Compare BUNDLE with its originals, or with another bundle, on labelled images.

    Accepted means: with 95 % confidence it loses less than --margin points of accuracy, and no other check fails
    (docs/prove.md). The verdict is written into the bundle. Exit code 3 when one is refused, or when too few
    images show nothing.
    """
    from braintumor.bench.accuracy.options import AccuracyOptions
    from braintumor.bench.result_file import ResultFile
    from braintumor.runtime.bundle.load import load_bundle

    verified = [load_bundle(folder, public_key=public_key) for folder in bundles]
    options = AccuracyOptions(
        engine=engine,
        reference=reference if reference in {_KERAS, _NONE} else load_bundle(reference, public_key=public_key),
        reference_engine=reference_engine,
        models=model_folders(models),
        device=device,
        threads=threads,
        batch_size=batch_size,
        policy=policy,
        margin_points=margin,
        robustness=robustness,
    )
    file = ResultFile(json_file)
    images = _images(data_source(data), count, verified[0])
    # A run on a few images must not replace the verdict on all.
    if _is_refused(verified, images, options, file, record=not no_record and count is None, replace=replace):
        sys.exit(REFUSED)


def _is_refused(
    bundles: "Sequence[Bundle]",
    images: "LabelledImages",
    options: "AccuracyOptions",
    file: "ResultFile",
    *,
    record: bool,
    replace: bool,
) -> bool:
    """Judge; print, write and record each verdict as soon as it is there: the next bundle takes its time."""
    from braintumor.bench.accuracy.evaluate import evaluate_bundles
    from braintumor.bench.accuracy.gate import NOT_ACCEPTED
    from braintumor.bench.accuracy.render import evaluation_lines
    from braintumor.bench.accuracy.summary import acceptance, accuracy_result, images_summary

    command = typed_command()
    summary = images_summary(images)

    def show_and_write(evaluations: "Sequence[BundleEvaluation]") -> None:
        last = evaluations[-1]
        with bar.hidden():
            click.echo("\n".join(evaluation_lines(last.result, last.bundle, images.classes)) + "\n")
        file.write(accuracy_result(evaluations, summary, options, command, bundles[len(evaluations) :]))
        if record:
            _record(last.bundle, acceptance(last.result, summary, command), replace=replace)

    with file.note_on_interrupt(), ProgressDisplay() as bar:
        evaluations = evaluate_bundles(bundles, images, options, bar, _echo_choice, show_and_write)
    return any(evaluation.result.verdict.status in NOT_ACCEPTED for evaluation in evaluations)


def _images(data: Path | None, count: int | None, bundle: "Bundle") -> "LabelledImages":
    from braintumor.bench.data.labelled import read_labelled

    if data is None:
        raise UsageError(
            "no labelled images were named; must be a folder with one folder a class, or a file of bt-data prepare",
            "name them with --data, or with $BRAINTUMOR_DATA",
        )
    images = read_labelled(data, "test", bundle.classes, lambda line: click.echo(line, err=True))
    return images if count is None else images.stratified(count)


def _record(bundle: "Bundle", verdict: dict[str, Any] | None, *, replace: bool) -> None:
    """Write a verdict into its bundle, if this is still the one that was evaluated, and has none on more images."""
    from braintumor.runtime.bundle.acceptance import write_acceptance
    from braintumor.runtime.bundle.folder import is_signed
    from braintumor.runtime.bundle.load import MANIFEST, load_bundle

    if verdict is None:
        return
    present = load_bundle(bundle.folder, public_key=bundle.signature.public_key if bundle.signature else None)
    if present.sha256 != bundle.sha256:
        raise IntegrityError(f"{bundle.folder} was replaced during the run", "run the command again")
    before = present.acceptance
    if before is not None and before["images"] > verdict["images"] and not replace:
        kept = f"{bundle.folder.name} keeps its verdict on {before['images']} images ({before['status']})"
        click.echo(f"{kept}; --replace writes this one on {verdict['images']}", err=True)
        return
    write_acceptance(bundle.folder / MANIFEST, present.details, verdict)
    if is_signed(bundle.folder):
        sign = f"bt-bundle sign {shlex.quote(str(bundle.folder))} --key KEY"
        click.echo(f"{bundle.folder.name} is signed, its new verdict is not: {sign}", err=True)


def _echo_choice(choice: "EngineChoice") -> None:
    from braintumor.runtime.output import choice_line

    click.echo(choice_line(choice), err=True)
