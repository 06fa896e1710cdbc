"""Decisions and times for a report, measured as `bt-bench accuracy` and `bt-bench latency` measure them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from braintumor.bench.accuracy.evaluate import BundleEvaluation, evaluate_bundles
from braintumor.bench.accuracy.options import AccuracyOptions
from braintumor.bench.accuracy.reference import KERAS, NO_REFERENCE
from braintumor.bench.accuracy.result import AccuracyResult
from braintumor.bench.accuracy.summary import accuracy_result, images_summary
from braintumor.bench.data.labelled import LabelledImages, read_labelled
from braintumor.bench.latency.decisions import KnownPredictions, RunnerPredictions
from braintumor.bench.latency.measure import measure_latency
from braintumor.bench.latency.options import ALL_ENGINES, LatencyOptions
from braintumor.bench.latency.result import LatencyResult
from braintumor.bench.metrics.stability import Window
from braintumor.bench.options import model_folders
from braintumor.errors import UsageError
from braintumor.models.labels import usual_order
from braintumor.runtime.bundle.load import Bundle, load_bundle
from braintumor.runtime.engines.registry import AUTO, candidates
from braintumor.runtime.image.folder import NoteCallback

__all__ = ["Evaluation", "ReportOptions", "Timing", "plan_evaluation", "plan_timing"]

_ROUNDS = 10

ProgressCallback = Callable[[str], object]
"""Takes a line about what begins."""


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """Options of `bt-bench report`.

    Attributes:
        bundles: Their folders.
        data: Labelled images; None where none are named.
        reference: "keras", "none", or the folder of a bundle.
        models: Folders of the originals.
        engines: All are timed, the first evaluates.
        baselines: Baselines.
        batches: Batch sizes.
        seconds: For each batch size, at most.
        threads: CPU threads; None leaves it to the engines.
        margin: How much accuracy may be lost, in points.
        robustness: How many images are perturbed.
        command: The command line.
        public_key: The PEM file of the key that must have signed the bundles; None for any bundles.
    """

    bundles: tuple[Path, ...]
    data: Path | None
    reference: str
    models: tuple[Path, ...]
    engines: tuple[str, ...]
    baselines: tuple[str, ...]
    batches: tuple[int, ...]
    seconds: float
    threads: int | None
    margin: float
    robustness: int
    command: str
    public_key: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Decisions that are to be measured.

    Attributes:
        bundles: Verified.
        images: Labelled.
        options: Of `bt-bench accuracy`.
        command: The command line.
    """

    bundles: tuple[Bundle, ...]
    images: LabelledImages
    options: AccuracyOptions
    command: str

    def measure(self, progress: ProgressCallback, write: Callable[[AccuracyResult], object]) -> KnownPredictions:
        """Evaluate; the result so far goes to `write` after every bundle.

        Returns:
            The answers to all images, of each bundle on its engine.
        """
        summary = images_summary(self.images)

        def write_so_far(evaluations: Sequence[BundleEvaluation]) -> None:
            remaining = self.bundles[len(evaluations) :]
            write(accuracy_result(evaluations, summary, self.options, self.command, remaining))

        evaluations = evaluate_bundles(
            self.bundles, self.images, self.options, _Lines(progress), on_result=write_so_far
        )
        return self._answers(evaluations)

    def _answers(self, evaluations: Sequence[BundleEvaluation]) -> KnownPredictions:
        """Bring them into the order in which runners get the images; none where the classes have another order."""
        if self.images.classes != usual_order(self.images.classes):
            return {}
        order = self.images.stratified_order(len(self.images))
        return {
            (evaluation.result.sha256, evaluation.result.engine.name): RunnerPredictions(
                evaluation.predictions.vote[order], evaluation.predictions.members[:, order]
            )
            for evaluation in evaluations
        }


@dataclass(frozen=True, slots=True)
class Timing:
    """Bundles and baselines that are to be timed, with the options of `bt-bench latency`."""

    options: LatencyOptions

    def measure(
        self, progress: ProgressCallback, write: Callable[[LatencyResult], object], known: KnownPredictions
    ) -> None:
        """Time; the result so far goes to `write` after every batch size.

        Args:
            progress: Takes a line about what begins.
            write: Takes the result so far.
            known: Answers of bundles that were evaluated.
        """
        write(measure_latency(self.options, progress, write, known))


class _Lines:
    """Progress as a line for each thing that begins."""

    def __init__(self, progress: ProgressCallback) -> None:
        self._progress = progress

    def begin(self, title: str, total: int | None = None) -> None:
        """Write the line."""
        self._progress(title if total is None else f"{title} ({total} images)")

    def tick(self, count: int = 1) -> None:
        """Write nothing: the next line tells enough."""


def plan_evaluation(options: ReportOptions, note: NoteCallback | None = None) -> Evaluation:
    """Check the options, and find bundles and images, before anything is measured.

    Args:
        options: What is to be measured.
        note: Called when hidden files are left out.

    Raises:
        UsageError: There are no labelled images, or the options do not fit.
        IntegrityError: A bundle is damaged.
    """
    if options.data is None:
        raise UsageError(
            "accuracy is measured on real labelled images, and there are none",
            "name them as `data`, a folder with one folder a class or a file of bt-data prepare; or time only: "
            "bt-bench latency BUNDLE --json FILE, then bt-bench report with this FILE as `latency_file`",
        )
    if not options.engines or not options.batches:
        raise UsageError("`engines` and `batches` must each have at least one entry")
    engine = AUTO if options.engines[0] == ALL_ENGINES else options.engines[0]
    candidates(engine)  # refuses a name that no engine has
    verified = tuple(load_bundle(folder, public_key=options.public_key) for folder in options.bundles)
    accuracy = AccuracyOptions(
        engine=engine,
        reference=_reference(options),
        models=model_folders(options.models),
        threads=options.threads,
        batch_size=max(options.batches),
        margin_points=options.margin,
        robustness=options.robustness,
    )
    images = read_labelled(options.data, "test", verified[0].classes, note)
    return Evaluation(verified, images, accuracy, options.command)


def _reference(options: ReportOptions) -> str | Bundle:
    if options.reference in {KERAS, NO_REFERENCE}:
        return options.reference
    return load_bundle(options.reference, public_key=options.public_key)


def plan_timing(options: ReportOptions) -> Timing:
    """Check the options before anything is measured.

    Raises:
        UsageError: The options do not fit.
    """
    return Timing(
        LatencyOptions(
            bundles=options.bundles,
            engines=options.engines,
            baselines=options.baselines,
            batches=options.batches,
            data=options.data,
            models=model_folders(options.models),
            threads=options.threads,
            window=Window(min_rounds=_ROUNDS, max_s=options.seconds),
            all_decided=True,
            command=options.command,
            public_key=options.public_key,
        )
    )
