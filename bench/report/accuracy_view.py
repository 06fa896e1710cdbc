"""Tables and charts of the chapters on decisions, from a result of `bt-bench accuracy`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from braintumor.bench.accuracy.result import AccuracyResult, EnsembleResult
from braintumor.bench.metrics.classification import Scores
from braintumor.bench.metrics.intervals import Share
from braintumor.bench.report.chart import Chart
from braintumor.bench.report.charts import Interval, confusion_chart, interval_chart
from braintumor.bench.report.format import decimals, interval_text, percent
from braintumor.bench.report.html import Table
from braintumor.bench.report.naming import ensembles_by_key

__all__ = ["AccuracyView", "accuracy_view"]

Ensembles = Mapping[str, EnsembleResult]
"""Evaluations of ensembles, by key."""


@dataclass(frozen=True, slots=True, eq=False)
class AccuracyView:
    """Contents of templates/accuracy.html.j2.

    Attributes:
        intervals: Accuracy of each ensemble.
        leaderboard: All scores, of ensembles and members.
        mistakes: Tumours missed and healthy heads called sick; None where the classes do not know these.
        by_class: A table for each ensemble.
        confusion: A chart and its caption for each ensemble.
    """

    intervals: Chart
    leaderboard: Table
    mistakes: Table | None
    by_class: Sequence[Table]
    confusion: Sequence[tuple[Chart, str]]


def accuracy_view(accuracy: AccuracyResult) -> AccuracyView:
    """Draw and tabulate a result."""
    ensembles = ensembles_by_key(accuracy)
    return AccuracyView(
        intervals=_intervals(ensembles),
        leaderboard=_leaderboard(ensembles),
        mistakes=_mistakes(ensembles),
        by_class=[_by_class(key, ensemble.scores) for key, ensemble in ensembles.items()],
        confusion=_confusion(ensembles, accuracy.images.classes),
    )


def _intervals(ensembles: Ensembles) -> Chart:
    rows = []
    for key, ensemble in ensembles.items():
        scores = ensemble.scores
        low, high = (100 * end for end in scores.interval)
        rows.append(Interval(key, 100 * scores.accuracy, low, high, f"{scores.correct} of {scores.images}"))
    return interval_chart(rows, axis="accuracy, %", alt="accuracy of each ensemble with its interval")


def _leaderboard(ensembles: Ensembles) -> Table:
    rows = []
    for key, ensemble in ensembles.items():
        rows.append(_scores_row(key, ensemble.scores, ensemble.near_duplicate_free))
        rows += [_scores_row(f"\u2003{member.name}", member.scores, None) for member in ensemble.members]
    free = "without near-duplicates"
    head = ("ensemble, and its members alone", "accuracy", "95 % interval", free, "loss", "Brier", "ECE")
    return Table(head, rows)


def _scores_row(name: str, scores: Scores, free: Scores | None) -> tuple[str, ...]:
    return (
        name,
        percent(scores.accuracy),
        interval_text(scores.interval),
        "" if free is None else f"{percent(free.accuracy)} of {free.images}",
        decimals(scores.loss),
        decimals(scores.brier),
        percent(scores.ece),
    )


def _mistakes(ensembles: Ensembles) -> Table | None:
    shares = {
        key: (ensemble.scores.false_negatives, ensemble.scores.false_positives) for key, ensemble in ensembles.items()
    }
    rows = [(key, *map(_count, pair)) for key, pair in shares.items() if any(pair)]
    return Table(("ensemble", "sick called healthy", "healthy called sick"), rows) if rows else None


def _count(share: Share | None) -> str:
    if share is None:
        return "–"  # noqa: RUF001 - a dash
    return f"{share.count} of {share.total} ({percent(share.share)} {interval_text(share.interval)})"


def _by_class(key: str, scores: Scores) -> Table:
    lines = {**scores.per_class, "macro average": scores.macro, "weighted": scores.weighted}
    rows = [
        (name, *(f"{value:.4f}" for value in (line.precision, line.recall, line.f1)), str(line.support))
        for name, line in lines.items()
    ]
    return Table(("class", "precision", "recall", "F1", "support"), rows, caption=key)


def _confusion(ensembles: Ensembles, classes: Sequence[str]) -> list[tuple[Chart, str]]:
    return [
        (
            confusion_chart(classes, {"": ensemble.scores.confusion}, alt=f"confusion of {key}"),
            f"{key}: {ensemble.scores.correct} of {ensemble.scores.images} right",
        )
        for key, ensemble in ensembles.items()
    ]
