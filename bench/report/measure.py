"""What a report tells, measured now: the same as `bt-bench accuracy` and `bt-bench latency` measure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braintumor.bench.accuracy.evaluate import KERAS, NO_REFERENCE, AccuracyOptions, Judgement, judge
from braintumor.bench.accuracy.summary import accuracy_result, images_summary
from braintumor.bench.data.labelled import LabelledImages, read_labelled
from braintumor.bench.document import encode
from braintumor.bench.latency.decisions import Known, Said
from braintumor.bench.latency.measure import measure_latency
from braintumor.bench.latency.options import EVERY, LatencyOptions
from braintumor.bench.metrics.stability import Window
from braintumor.bench.options import model_folders
from braintumor.errors import UsageError
from braintumor.models.labels import usual_order
from braintumor.runtime.bundle.load import Bundle, load_bundle
from braintumor.runtime.engines.registry import AUTO, candidates

__all__ = ["Judging", "Timing", "judging", "timing"]

_ROUNDS = 10

Told = Callable[[str], object]
"""Is told what is being done, a line at a time."""

Kept = Callable[[Mapping[str, Any]], object]
"""Is given all that is known so far, as JSON of its schema, whenever it is more."""


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

    def measure(self, told: Told, kept: Kept) -> Known:
        """Judge; what is found goes to `kept` after every bundle, schema `braintumor.accuracy/1`.

        Returns:
            The answers to all images, of each bundle on the engine that it was judged on.
        """
        summary = images_summary(self.images)

        def keep(judgements: Sequence[Judgement]) -> None:
            left = self.bundles[len(judgements) :]
            kept(encode(accuracy_result(judgements, summary, self.options, self.command, left)))

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

    def measure(self, told: Told, kept: Kept, known: Known) -> None:
        """Time; what is found goes to `kept` after every batch size, schema `braintumor.latency/1`.

        Args:
            told: Of the progress.
            kept: Is given the JSON.
            known: Answers of bundles that were judged.
        """
        found = measure_latency(self.options, told, lambda so_far: kept(encode(so_far)), known)
        kept(encode(found))


class _Told:
    """Progress, a line for each thing that begins."""

    def __init__(self, told: Told) -> None:
        self._told = told

    def begin(self, what: str, images: int) -> None:
        """Tell it."""
        self._told(f"{what} ({images} images)")

    def tick(self, images: int) -> None:
        """Nothing: what follows tells enough."""


def judging(bundles: Sequence[Path], command: str, asked: Mapping[str, Any]) -> Judging:
    """Check what is asked, and find bundles and images, before anything is measured.

    Args:
        bundles: Their folders.
        command: What was typed.
        asked: Options of `bt-bench report`.

    Raises:
        UsageError: There are no labelled images, or what is asked cannot be done.
        IntegrityError: A bundle is not what it says it is.
    """
    if asked["data"] is None:
        raise UsageError(
            "decisions are judged on real labelled images; name them with --data, a folder with one folder a class "
            "or a file of bt-data prepare; or time only: bt-bench latency BUNDLE --json FILE, then bt-bench report "
            "--latency FILE"
        )
    if not asked["engines"] or not asked["batches"]:
        raise UsageError("needed are at least one --engine and one --batch")
    engine = AUTO if asked["engines"][0] == EVERY else asked["engines"][0]
    candidates(engine)  # refuses a name that no engine has
    verified = tuple(load_bundle(folder) for folder in bundles)
    reference = asked["reference"]
    options = AccuracyOptions(
        engine=engine,
        reference=reference if reference in {KERAS, NO_REFERENCE} else load_bundle(reference),
        models=model_folders(asked["models"]),
        threads=asked["threads"],
        batch_size=max(asked["batches"]),
        margin_points=asked["margin"],
        robustness=asked["robustness"],
    )
    return Judging(verified, read_labelled(asked["data"], "test", verified[0].classes), options, command)


def timing(bundles: Sequence[Path], command: str, asked: Mapping[str, Any]) -> Timing:
    """Check what is asked before anything is measured.

    Args:
        bundles: Their folders.
        command: What was typed.
        asked: Options of `bt-bench report`.

    Raises:
        UsageError: What is asked cannot be measured.
    """
    return Timing(
        LatencyOptions(
            bundles=tuple(bundles),
            engines=asked["engines"],
            against=asked["against"],
            batches=asked["batches"],
            data=asked["data"],
            models=model_folders(asked["models"]),
            threads=asked["threads"],
            window=Window(min_rounds=_ROUNDS, max_s=asked["seconds"]),
            all_decided=True,
            command=command,
        )
    )
