"""The tables of the report, for its page and for the notebook."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from braintumor.bench.metrics.intervals import Share
from braintumor.bench.report.html import Table, render
from braintumor.models.labels import CLASSES
from braintumor.training.report.calibration import Reliability
from braintumor.training.report.evaluate import share_text
from braintumor.training.report.foreign import ForeignFigures
from braintumor.training.report.result import ENSEMBLE, ModelEvaluation, Report, Run
from braintumor.training.report.study import STUDY, STUDY_ENSEMBLE, STUDY_ENSEMBLE_ACCURACY
from braintumor.training.report.vote import SIGNIFICANCE, VoteChoice, VoteComparison

__all__ = [
    "TEMPLATES",
    "RunView",
    "VotesView",
    "calibration_table",
    "class_table",
    "foreign_table",
    "leaderboard_table",
    "run_views",
    "runs_html",
    "votes_html",
    "votes_view",
]

TEMPLATES: Final = Path(__file__).with_name("templates")

_FIGURES: Final = ("validation", "loss", "gained : lost", "p")


@dataclass(frozen=True, slots=True)
class RunView:
    """Training of a model, for runs.html.j2; without a command it was evaluated from a file."""

    name: str
    summary: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class VotesView:
    """Contents of votes.html.j2.

    Attributes:
        models: Votes of some of the models, with equal weights.
        weights: The same models with other weights.
        significance: The corrected p below which a vote is better.
        sentences: The vote that was chosen, and that of the study.
    """

    models: Table
    weights: Table
    significance: float
    sentences: tuple[str, ...]


def leaderboard_table(report: Report) -> Table:
    """List every model and the ensemble, most accurate on test first, with the study's figures."""
    head = (
        "model",
        "validation",
        "test",
        "loss",
        "study",
        "study loss",
        "near-duplicate-free test",
        "foreign tumours found",
    )
    rows = []
    for name, evaluation in sorted(report.evaluations.items(), key=lambda item: -item[1].test.accuracy):
        study = STUDY.get(name)
        rows.append(
            (
                name,
                f"{evaluation.val.accuracy:.2%}",
                evaluation.test.text(),
                f"{evaluation.test.loss:.4f}",
                f"{study.accuracy if study else STUDY_ENSEMBLE_ACCURACY:.2%}",
                f"{study.loss:.4f}" if study else "",
                evaluation.leak_free.text() if evaluation.leak_free else "none",
                share_text(evaluation.tumours) if evaluation.tumours else "not measured",
            )
        )
    return Table(head, rows)


def foreign_table(figures: Mapping[str, ForeignFigures]) -> Table:
    """List what each model and the ensemble answer to one collection that they were not made from."""

    def cell(share: Share | None) -> str:
        return share_text(share) if share else "none"

    head = ("model", "tumours not called healthy", "healthy called healthy")
    return Table(head, [(name, cell(item.sensitivity), cell(item.specificity)) for name, item in figures.items()])


def run_views(report: Report) -> list[RunView]:
    """Say how each model was trained."""
    return [_run_view(name, run) for name, run in report.runs.items()]


def _run_view(name: str, run: Run) -> RunView:
    if not run.about:
        return RunView(name)
    recipe = run.about["recipe"]
    versions = ", ".join(f"{key} {value}" for key, value in run.about["versions"].items())
    minutes = run.history[-1].elapsed_s / 60 if run.history else 0.0
    summary = (
        f"from {recipe['initial'] or 'random weights'}, {len(run.history)} epochs, {minutes:.0f} minutes, "
        f"seed {recipe['seed']}; {versions}"
    )
    return RunView(name, summary, run.about["command"])


def runs_html(report: Report) -> str:
    """Render how each model was trained."""
    return render(TEMPLATES / "runs.html.j2", runs=run_views(report))


def class_table(evaluation: ModelEvaluation) -> Table:
    """List precision and recall with their intervals, F1 and support by class, on both parts of the test images."""
    head = ("test images", "class", "precision", "recall", "F1", "support")
    rows = [
        (
            part if name == next(iter(scores.per_class)) else "",
            name,
            _share(scores.precision(name)),
            _share(Share.of(scores.confusion[number][number], sum(scores.confusion[number]))),
            f"{scores.per_class[name].f1:.4f}",
            str(scores.per_class[name].support),
        )
        for part, scores in evaluation.parts().items()
        for number, name in enumerate(CLASSES)
        if name in scores.per_class
    ]
    return Table(head, rows, text_columns=2)


def _share(share: Share | None) -> str:
    if share is None:
        return "none"
    low, high = share.interval
    return f"{share.share:.4f} [{low:.4f}, {high:.4f}]"


def votes_view(report: Report) -> VotesView | None:
    """Tabulate which vote was chosen, by which tests, and what it does on the test images; None for one model."""
    choice = report.choice
    if choice is None:
        return None
    rows = [
        (
            *_figures(" + ".join(compared.vote.members), compared),
            "the reference" if compared == choice.reference else _verdict(compared),
        )
        for compared in choice.models
    ]
    best = choice.weights
    sentences = [f"The vote: {_named(choice)}. On test: {_both(report.evaluations[ENSEMBLE])}."]
    if report.study_vote:
        names = " + ".join(STUDY_ENSEMBLE)
        sentences.append(
            f"The study's vote, {names} with equal weights: {_both(report.study_vote)}; published: 100 %."
        )
    return VotesView(
        models=Table(
            ("models, with equal weights", *_FIGURES, f"p x {choice.reference.tried}", "verdict"),
            rows,
            strong=choice.models.index(choice.reference),
        ),
        weights=Table(
            ("the same models, other weights", *_FIGURES, f"p x {best.tried}", "verdict"),
            [(*_figures(_weights(best.vote.weights), best), _verdict(best))],
        ),
        significance=SIGNIFICANCE,
        sentences=tuple(sentences),
    )


def votes_html(report: Report) -> str:
    """Render which vote was chosen."""
    return render(TEMPLATES / "votes.html.j2", votes=votes_view(report))


def _figures(name: str, compared: VoteComparison) -> tuple[str, ...]:
    return (
        name,
        f"{compared.accuracy:.2%}",
        f"{compared.loss:.4f}",
        f"{compared.gained} : {compared.lost}",
        f"{compared.p:.3g}",
        f"{compared.p_corrected:.3g}",
    )


def _verdict(compared: VoteComparison) -> str:
    if not compared.is_significant:
        return "cannot be told apart"
    return "better" if compared.better else "worse"


def _weights(weights: tuple[float, ...]) -> str:
    return " : ".join(f"{weight:.2g}" for weight in weights)


def _named(choice: VoteChoice) -> str:
    weights = _weights(choice.vote.weights) if choice.weights.better else "equal"
    return f"{' + '.join(choice.vote.members)}, weights {weights}"


def _both(evaluation: ModelEvaluation) -> str:
    leak_free = evaluation.leak_free
    return evaluation.test.text() + (f"; without near-duplicates {leak_free.text()}" if leak_free else "")


def calibration_table(report: Report) -> Table:
    """List temperature and expected calibration error by model."""
    head = (
        "model",
        "temperature (fitted on validation)",
        "test ECE",
        "tempered",
        "without near-duplicates",
        "tempered",
    )
    rows = [
        (
            name,
            f"{evaluation.temperature:.3f}",
            *_errors(evaluation.test_reliability),
            *_errors(evaluation.leak_free_reliability),
        )
        for name, evaluation in report.evaluations.items()
    ]
    return Table(head, rows)


def _errors(reliability: Reliability | None) -> tuple[str, str]:
    return (f"{reliability.before.ece:.2%}", f"{reliability.after.ece:.2%}") if reliability else ("none", "none")
