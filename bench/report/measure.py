"""What a report tells, measured now: the same as `bt-bench accuracy` and `bt-bench latency` measure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from braintumor.bench.accuracy.evaluate import Judgement, judge
from braintumor.bench.accuracy.options import AccuracyOptions
from braintumor.bench.accuracy.reference import KERAS, NO_REFERENCE
from braintumor.bench.accuracy.result import AccuracyResult
from braintumor.bench.accuracy.summary import accuracy_result, images_summary
from braintumor.bench.data.labelled import LabelledImages, read_labelled
from braintumor.bench.latency.decisions import Known, Said
from braintumor.bench.latency.measure import measure_latency
from braintumor.bench.latency.options import EVERY, LatencyOptions
from braintumor.bench.latency.result import LatencyResult
from braintumor.bench.metrics.stability import Window
from braintumor.bench.options import model_folders
from braintumor.errors import UsageError
from braintumor.models.labels import usual_order
from braintumor.runtime.bundle.load import Bundle, load_bundle
from braintumor.runtime.engines.registry import AUTO, candidates

__all__ = ["Judging", "ReportOptions", "Timing", "judging", "timing"]

_ROUNDS = 10

Told = Callable[[str], object]
"""Is told what is being done, a line at a time."""


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What is asked of `bt-bench report`.

    Attributes:
        bundles: Their folders.
        data: Labelled images; None where none are named.
        reference: "keras", "none", or the folder of a bundle.
        models: Where originals are looked for, as they were named.
        engines: All are timed, the first judges.
        against: Peers.
        batches: Batch sizes.
        seconds: For each batch size, at most.
        threads: CPU threads; None leaves it to the engines.
        margin: How much accuracy may be lost, in points.
        robustness: How many images are perturbed.
        command: What was typed.
    """

    bundles: tuple[Path, ...]
    data: Path | None
    reference: str
    models: tuple[Path, ...]
    engines: tuple[str, ...]
    against: tuple[str, ...]
    batches: tuple[int, ...]
    seconds: float
    threads: int | None
    margin: float
    robustness: int
    command: str


@dataclass(frozen=True, slots=True, eq=False)
class Judging:
    """Decisions that are to be judged.

    Attributes:
        bundles: Verified.
        images: Labelled.
        options: What is asked.
        command: What was typed.
    """

    bundles: tuple[Bundle, ...]
    images: LabelledImages
    options: AccuracyOptions
    command: str

    def measure(self, told: Told, kept: Callable[[AccuracyResult], object]) -> Known:
        """Judge; what is found goes to `kept` after every bundle.

        Returns:
            The answers to all images, of each bundle on the engine that it was judged on.
        """
        summary = images_summary(self.images)

        def keep(judgements: Sequence[Judgement]) -> None:
            left = self.bundles[len(judgements) :]
            kept(accuracy_result(judgements, summary, self.options, self.command, left))

        return self._said(judge(self.bundles, self.images, self.options, _Told(told), kept=keep))

    def _said(self, judgements: Sequence[Judgement]) -> Known:
        """In the orders in which contenders are asked; nothing where their classes have another one."""
        if self.images.classes != usual_order(self.images.classes):
            return {}
        order = self.images.stratified_order(len(self.images))
        return {
            (one.result.sha256, one.result.engine.name): Said(one.answers.vote[order], one.answers.members[:, order])
            for one in judgements
        }


@dataclass(frozen=True, slots=True)
class Timing:
    """Bundles and peers that are to be timed.

    Attributes:
        options: What is asked.
    """

    options: LatencyOptions

    def measure(self, told: Told, kept: Callable[[LatencyResult], object], known: Known) -> None:
        """Time; what is found goes to `kept` after every batch size.

        Args:
            told: Of the progress.
            kept: Is given what is known so far.
            known: Answers of bundles that were judged.
        """
        kept(measure_latency(self.options, told, kept, known))


class _Told:
    """Progress, a line for each thing that begins."""

    def __init__(self, told: Told) -> None:
        self._told = told

    def begin(self, what: str, images: int) -> None:
        """Tell it."""
        self._told(f"{what} ({images} images)")

    def tick(self, images: int) -> None:
        """Nothing: what follows tells enough."""


def judging(asked: ReportOptions) -> Judging:
    """Check what is asked, and find bundles and images, before anything is measured.

    Raises:
        UsageError: There are no labelled images, or what is asked cannot be done.
        IntegrityError: A bundle is not what it says it is.
    """
    if asked.data is None:
        raise UsageError(
            "decisions are judged on real labelled images; name them with --data, a folder with one folder a class "
            "or a file of bt-data prepare; or time only: bt-bench latency BUNDLE --json FILE, then bt-bench report "
            "--latency FILE"
        )
    if not asked.engines or not asked.batches:
        raise UsageError("needed are at least one --engine and one --batch")
    engine = AUTO if asked.engines[0] == EVERY else asked.engines[0]
    candidates(engine)  # refuses a name that no engine has
    verified = tuple(load_bundle(folder) for folder in asked.bundles)
    options = AccuracyOptions(
        engine=engine,
        reference=asked.reference if asked.reference in {KERAS, NO_REFERENCE} else load_bundle(asked.reference),
        models=model_folders(asked.models),
        threads=asked.threads,
        batch_size=max(asked.batches),
        margin_points=asked.margin,
        robustness=asked.robustness,
    )
    return Judging(verified, read_labelled(asked.data, "test", verified[0].classes), options, asked.command)


def timing(asked: ReportOptions) -> Timing:
    """Check what is asked before anything is measured.

    Raises:
        UsageError: What is asked cannot be measured.
    """
    return Timing(
        LatencyOptions(
            bundles=asked.bundles,
            engines=asked.engines,
            against=asked.against,
            batches=asked.batches,
            data=asked.data,
            models=model_folders(asked.models),
            threads=asked.threads,
            window=Window(min_rounds=_ROUNDS, max_s=asked.seconds),
            all_decided=True,
            command=asked.command,
        )
    )
