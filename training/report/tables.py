"""The tables of the report, for its page and for the notebook."""

from collections.abc import Mapping
from typing import Final

from braintumor.bench.metrics.intervals import Share
from braintumor.bench.report.html import Markup, markup, paragraph, table
from braintumor.models.labels import CLASSES
from braintumor.training.report.calibration import Reliability
from braintumor.training.report.evaluate import share_text
from braintumor.training.report.foreign import ForeignFigures
from braintumor.training.report.result import ENSEMBLE, Judged, Report
from braintumor.training.report.study import STUDY, STUDY_ENSEMBLE, STUDY_ENSEMBLE_ACCURACY
from braintumor.training.report.vote import SIGNIFICANCE, Choice, Compared

__all__ = ["calibration_table", "class_table", "foreign_table", "leaderboard_table", "runs_table", "votes_table"]

_TESTED: Final = ("validation", "loss", "gained : lost", "p")

_HOW: Final = (
    "Gained and lost are validation images that only this vote, or only the reference, decides right; p is McNemar's "
    "exact test of the two, and the next column multiplies it by the votes that were tried. The vote begins with all "
    "models and equal weights. Another one takes its place only when it is better at a corrected p of "
    f"{SIGNIFICANCE} or less: the most accurate of so many votes on the images that choose it is mostly the luckiest."
)


def leaderboard_table(report: Report) -> Markup:
    """Every model and the ensemble, most accurate on test first, the study's figures beside."""
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
    for name, found in sorted(report.judged.items(), key=lambda item: -item[1].test.accuracy):
        study = STUDY.get(name)
        rows.append(
            (
                name,
                f"{found.val.accuracy:.2%}",
                found.test.text(),
                f"{found.test.loss:.4f}",
                f"{study.accuracy if study else STUDY_ENSEMBLE_ACCURACY:.2%}",
                f"{study.loss:.4f}" if study else "",
                found.free.text() if found.free else "none",
                share_text(found.tumours) if found.tumours else "not measured",
            )
        )
    return table(head, rows)


def foreign_table(figures: Mapping[str, ForeignFigures]) -> Markup:
    """What each model and the ensemble find on one collection that they were not made from."""

    def cell(share: Share | None) -> str:
        return share_text(share) if share else "none"

    head = ("model", "tumours not called healthy", "healthy called healthy")
    return table(head, [(name, cell(item.sensitivity), cell(item.specificity)) for name, item in figures.items()])


def runs_table(report: Report) -> Markup:
    """How each model was trained."""
    parts = []
    for name, run in report.runs.items():
        if not run.about:
            parts.append(f"<p><b>{markup(name)}</b>: evaluated from a file; no learning curve.</p>")
            continue
        recipe = run.about["recipe"]
        versions = ", ".join(f"{key} {value}" for key, value in run.about["versions"].items())
        minutes = run.history[-1].elapsed_s / 60 if run.history else 0.0
        told = (
            f": from {recipe['initial'] or 'random weights'}, {len(run.history)} epochs, {minutes:.0f} minutes, "
            f"seed {recipe['seed']}; {versions}; "
        )
        command = markup(run.about["command"])
        parts.append(f"<p><b>{markup(name)}</b>{markup(told)}<code>{command}</code></p>")
    return Markup("\n".join(parts))


def class_table(judged: Judged) -> Markup:
    """Precision and recall with their intervals, F1 and support by class, on both parts of the test images."""
    head = ("test images", "class", "precision", "recall", "F1", "support")
    rows = [
        (
            part if name == next(iter(found.per_class)) else "",
            name,
            _share(found.precision(name)),
            _share(Share.of(found.confusion[number][number], sum(found.confusion[number]))),
            f"{found.per_class[name].f1:.4f}",
            str(found.per_class[name].support),
        )
        for part, found in judged.parts().items()
        for number, name in enumerate(CLASSES)
        if name in found.per_class
    ]
    return table(head, rows, text_columns=2)


def _share(share: Share | None) -> str:
    if share is None:
        return "none"
    low, high = share.interval
    return f"{share.share:.4f} [{low:.4f}, {high:.4f}]"


def votes_table(report: Report) -> Markup:
    """Which vote was chosen, by which tests, and what it does on the test images."""
    choice = report.choice
    if choice is None:
        return paragraph("One model is no ensemble.")
    rows = [
        (*_figures(" + ".join(one.vote.members), one), "the reference" if one == choice.reference else _told(one))
        for one in choice.models
    ]
    best = choice.weights
    parts = [
        table(
            ("models, with equal weights", *_TESTED, f"p x {choice.reference.tried}", "verdict"),
            rows,
            strong=choice.models.index(choice.reference),
        ),
        paragraph(_HOW, "soft"),
        table(
            ("the same models, other weights", *_TESTED, f"p x {best.tried}", "verdict"),
            [(*_figures(_weights(best.vote.weights), best), _told(best))],
        ),
    ]
    parts.append(paragraph(f"The vote: {_named(choice)}. On test: {_both(report.judged[ENSEMBLE])}."))
    if report.study_vote:
        names = " + ".join(STUDY_ENSEMBLE)
        parts.append(
            paragraph(f"The study's vote, {names} with equal weights: {_both(report.study_vote)}; published: 100 %.")
        )
    return Markup("\n".join(parts))


def _figures(name: str, one: Compared) -> tuple[str, ...]:
    return (
        name,
        f"{one.accuracy:.2%}",
        f"{one.loss:.4f}",
        f"{one.gained} : {one.lost}",
        f"{one.p:.3g}",
        f"{one.p_corrected:.3g}",
    )


def _told(one: Compared) -> str:
    if not one.told_apart:
        return "cannot be told apart"
    return "better" if one.better else "worse"


def _weights(weights: tuple[float, ...]) -> str:
    return " : ".join(f"{weight:.2g}" for weight in weights)


def _named(choice: Choice) -> str:
    weights = _weights(choice.vote.weights) if choice.weights.better else "equal"
    return f"{' + '.join(choice.vote.members)}, weights {weights}"


def _both(judged: Judged) -> str:
    return judged.test.text() + (f"; without near-duplicates {judged.free.text()}" if judged.free else "")


def calibration_table(report: Report) -> Markup:
    """Temperature and expected calibration error by model."""
    head = (
        "model",
        "temperature (fitted on validation)",
        "test ECE",
        "tempered",
        "without near-duplicates",
        "tempered",
    )
    rows = [
        (name, f"{found.temperature:.3f}", *_errors(found.test_reliability), *_errors(found.free_reliability))
        for name, found in report.judged.items()
    ]
    return table(head, rows)


def _errors(found: Reliability | None) -> tuple[str, str]:
    return (f"{found.before.ece:.2%}", f"{found.after.ece:.2%}") if found else ("none", "none")
