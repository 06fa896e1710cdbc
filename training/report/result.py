"""All figures of the report, from stored runs, without training; `report_page` renders them."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from braintumor import NOTICE
from braintumor.bench.data.manifest import EVALUATION_SPLITS, SPLITS, ManifestRow
from braintumor.bench.document import encode
from braintumor.bench.metrics.intervals import Share
from braintumor.errors import IntegrityError, UsageError
from braintumor.models.catalog import CATALOG
from braintumor.training.data.audit import near_duplicate_free
from braintumor.training.data.predictions import Predictions, read_predictions
from braintumor.training.fit.checkpoint import EpochRow
from braintumor.training.fit.run_record import read_record
from braintumor.training.report.calibration import Reliability, fit_temperature, reliability
from braintumor.training.report.evaluate import Evaluation, detection, evaluate
from braintumor.training.report.foreign import Collection, ForeignFigures, foreign_figures, predict_collection
from braintumor.training.report.study import STUDY_ENSEMBLE
from braintumor.training.report.vote import Vote, VoteChoice, choose_vote, equal_vote, soft_vote

__all__ = ["ENSEMBLE", "ModelEvaluation", "Report", "Run", "evaluate_model", "make_report", "read_run"]

ENSEMBLE = "Ensemble"


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A finished run of one model, as its folder holds it.

    Attributes:
        name: The model.
        about: `run.json`; empty for a model that was only evaluated.
        history: The learning curves; empty for such a model.
        predictions: By split.
    """

    name: str
    about: Mapping[str, Any]
    history: tuple[EpochRow, ...]
    predictions: Mapping[str, Predictions]


class ModelEvaluation(
    msgspec.Struct,
    frozen=True,
    eq=False,
    rename={"leak_free": "free", "leak_free_reliability": "free_reliability"},
):
    """Scores of a model, or an ensemble, on all parts.

    Attributes:
        val: On validation images.
        test: On all test images.
        leak_free: On the test images with no near-duplicate in train or val; None where there is none.
        temperature: Fitted on validation images.
        test_reliability: Calibration on the test images.
        leak_free_reliability: On those of `leak_free`; None where there is none.
        tumours: On slices of other collections with a tumour of unknown type; None where there is none.
    """

    val: Evaluation
    test: Evaluation
    leak_free: Evaluation | None
    temperature: float
    test_reliability: Reliability
    leak_free_reliability: Reliability | None
    tumours: Share | None = None

    def parts(self) -> dict[str, Evaluation]:
        """Name the scores on test images: all, and those without near-duplicates."""
        parts = {f"{self.test.images} test images": self.test}
        if self.leak_free:
            parts[f"{self.leak_free.images} without near-duplicates"] = self.leak_free
        return parts

    def to_json(self) -> dict[str, Any]:
        """Convert to plain data."""
        data: dict[str, Any] = encode(self)
        return data


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """Everything that the page shows.

    Attributes:
        runs: By model.
        evaluations: By model; the chosen ensemble, where there is one, under `ENSEMBLE`.
        choice: How that ensemble was chosen; None with one model.
        study_vote: Equal votes of the study's three models; None where one of them is missing.
        foreign: By collection and model: figures on images that no model was made from.
    """

    runs: Mapping[str, Run]
    evaluations: Mapping[str, ModelEvaluation]
    choice: VoteChoice | None
    study_vote: ModelEvaluation | None
    foreign: Mapping[str, Mapping[str, ForeignFigures]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Convert to plain data, schema `braintumor.training-report/1`."""
        return {
            "schema": "braintumor.training-report/1",
            "notice": NOTICE,
            "judged": {name: evaluation.to_json() for name, evaluation in self.evaluations.items()},
            "choice": self.choice.to_json() if self.choice else None,
            "study_vote": self.study_vote.to_json() if self.study_vote else None,
            "foreign": {
                name: {model: asdict(figures) for model, figures in models.items()}
                for name, models in self.foreign.items()
            },
            "runs": {
                name: {"about": dict(run.about), "history": [asdict(row) for row in run.history]}
                for name, run in self.runs.items()
            },
        }


def read_run(folder: Path) -> Run:
    """Read the folder of one model.

    Raises:
        InputError: The run is not finished.
        IntegrityError: Its files are damaged.
    """
    history_file = folder / "history.csv"
    rows: list[EpochRow] = []
    if history_file.exists():
        reader = csv.DictReader(io.StringIO(history_file.read_text(encoding="utf-8")))
        rows = [_epoch_row(row, history_file) for row in reader]
    return Run(folder.name, read_record(folder), tuple(rows), read_predictions(folder / "predictions.csv"))


def _epoch_row(row: Mapping[str, str], source: Path) -> EpochRow:
    try:
        return EpochRow(
            epoch=int(row["epoch"]),
            size=int(row["size"]),
            train_loss=float(row["train_loss"]),
            train_accuracy=float(row["train_accuracy"]),
            val_loss=float(row["val_loss"]),
            val_accuracy=float(row["val_accuracy"]),
            tumours_found=float(row.get("tumours_found", "nan")),
            learning_rate=float(row["learning_rate"]),
            images_per_s=float(row["images_per_s"]),
            elapsed_s=float(row["elapsed_s"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{source} is not a learning curve ({error})", "run bt-train again") from error


def make_report(
    folder: Path,
    rows: tuple[ManifestRow, ...],
    collections: Sequence[Collection] = (),
    step: Callable[[str], None] = lambda _: None,
) -> Report:
    """Evaluate all finished runs below a folder.

    Args:
        folder: Has one folder a model, as `bt-train` writes them.
        rows: The manifest, which knows the near-duplicates.
        collections: Images that no model was made from; the runs' `.keras` files answer them.
        step: Takes a line about what begins.

    Raises:
        UsageError: There is no finished run.
        IntegrityError: Runs were evaluated on different images, or the manifest is of other ones.
    """
    names = [name for name in CATALOG if (folder / name / "predictions.csv").exists()]
    if not names:
        raise UsageError(f"{folder} holds no finished run of {', '.join(CATALOG)}", "train first: bt-train all")
    runs = {name: read_run(folder / name) for name in names}
    _check_manifest(next(iter(runs.values())), rows)
    leak_free = near_duplicate_free(rows)
    evaluations = {name: evaluate_model(run.predictions, leak_free) for name, run in runs.items()}
    choice = study_vote = None
    if len(runs) > 1:
        choice = choose_vote({name: run.predictions["val"] for name, run in runs.items()})
        evaluations[ENSEMBLE] = _evaluate_vote(runs, choice.vote, leak_free)
    if all(name in runs for name in STUDY_ENSEMBLE):
        study_vote = _evaluate_vote(runs, equal_vote(STUDY_ENSEMBLE), leak_free)
    votes = {ENSEMBLE: choice.vote} if choice else {}
    foreign = {item.name: _foreign(folder, names, item, votes, step) for item in collections}
    return Report(runs, evaluations, choice, study_vote, foreign)


def _foreign(
    folder: Path, names: Sequence[str], collection: Collection, votes: Mapping[str, Vote], step: Callable[[str], None]
) -> dict[str, ForeignFigures]:
    predictions = {}
    for name in names:
        model = folder / name / f"{name}.keras"
        if model.exists():
            step(f"{name} answers {len(collection.data)} images of {collection.name}")
            predictions[name] = predict_collection(model, collection)
    if not predictions:
        raise UsageError(
            f"{folder} has no .keras file of {', '.join(names)}, and {collection.name} needs one", "train first"
        )
    return dict(foreign_figures(predictions, votes))


def _check_manifest(run: Run, rows: tuple[ManifestRow, ...]) -> None:
    for split in SPLITS:
        predictions = run.predictions.get(split)
        if predictions is None:
            continue
        listed = {row.file for row in rows if row.split == split}
        unlisted = [name for name in predictions.files if name not in listed]
        if unlisted:
            raise IntegrityError(
                f"{len(unlisted)} of the {len(predictions)} {split} images of {run.name} are not in that part of the "
                f"manifest (the first is {unlisted[0]})",
                "name the one that the data was prepared with as `manifest`",
            )


def evaluate_model(predictions: Mapping[Any, Predictions], leak_free: frozenset[str]) -> ModelEvaluation:
    """Score one model.

    Args:
        predictions: By split.
        leak_free: Names of the test images with no near-duplicate in train or val.
    """
    val, test, tumours = predictions["val"], predictions["test"], predictions.get("tumour-dev")
    part = test.only(leak_free)
    temperature = fit_temperature(val)
    return ModelEvaluation(
        val=evaluate(val),
        test=evaluate(test),
        leak_free=evaluate(part) if len(part) else None,
        temperature=temperature,
        test_reliability=reliability(test, temperature),
        leak_free_reliability=reliability(part, temperature) if len(part) else None,
        tumours=detection(tumours) if tumours else None,
    )


def _evaluate_vote(runs: Mapping[str, Run], vote: Vote, leak_free: frozenset[str]) -> ModelEvaluation:
    splits = [split for split in EVALUATION_SPLITS if all(split in run.predictions for run in runs.values())]
    predictions = {
        split: soft_vote({name: run.predictions[split] for name, run in runs.items()}, vote) for split in splits
    }
    return evaluate_model(predictions, leak_free)
