"""The part of a report on decisions: tables and charts of what `bt-bench accuracy` found."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from braintumor.bench.accuracy.result import AccuracyResult, EnsembleResult
from braintumor.bench.metrics.classification import Scores
from braintumor.bench.metrics.intervals import Share
from braintumor.bench.report.charts import Interval, interval_chart
from braintumor.bench.report.charts_plane import confusion_chart
from braintumor.bench.report.format import decimals, interval_text, percent
from braintumor.bench.report.html import Markup, figure, paragraph, section, side, table
from braintumor.bench.report.naming import ensembles

__all__ = ["accuracy_sections"]

_FREE: Final = "without near-duplicates"

Ensembles = Mapping[str, EnsembleResult]
"""Key → how an ensemble does."""


def accuracy_sections(accuracy: AccuracyResult) -> Iterator[Markup]:
    """The chapters on decisions, but for the flips."""
    found = ensembles(accuracy)
    yield section("Leaderboard", _leaderboard(found))
    yield section("Healthy and sick", _healthy_and_sick(found))
    yield section("By class", _by_class(found))
    yield section("Confusion", _confusion(found, accuracy.images.classes))


def _leaderboard(found: Ensembles) -> Iterator[Markup]:
    rows, shown = [], []
    for key, one in found.items():
        rows.append(_scores_row(key, one.scores, one.near_duplicate_free))
        shown.append(_interval(key, one.scores))
        rows += [_scores_row(f"\u2003{member.name}", member.scores, None) for member in one.members]
    yield figure(
        interval_chart(shown, axis="accuracy, %", alt="accuracy of each ensemble with its interval"),
        "Soft vote of each ensemble on all images, with its Clopper-Pearson 95 % interval.",
    )
    head = ("ensemble, and its members alone", "accuracy", "95 % interval", _FREE, "loss", "Brier", "ECE")
    yield table(head, rows)
    yield paragraph(
        "Near-duplicates are test images whose perceptual hash differs in 4 bits or fewer from an image of the "
        "training or validation part; the fourth column leaves them out.",
        "soft",
    )


def _interval(key: str, scores: Scores) -> Interval:
    low, high = (100 * end for end in scores.interval)
    return Interval(key, 100 * scores.accuracy, low, high, f"{scores.correct} of {scores.images}")


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


def _healthy_and_sick(found: Ensembles) -> Iterator[Markup]:
    shares = {key: (one.scores.sick_called_healthy, one.scores.healthy_called_sick) for key, one in found.items()}
    rows = [(key, *map(_mistakes, pair)) for key, pair in shares.items() if any(pair)]
    if rows:
        yield table(("ensemble", "sick called healthy", "healthy called sick"), rows)
        yield paragraph(
            "A count of 0 is no proof of 0: the interval says up to which share the images leave possible.", "soft"
        )


def _mistakes(share: Share | None) -> str:
    if share is None:
        return "–"  # noqa: RUF001 - a dash
    return f"{share.count} of {share.total} ({percent(share.share)} {interval_text(share.interval)})"


def _by_class(found: Ensembles) -> Iterator[Markup]:
    head = ("class", "precision", "recall", "F1", "support")
    tables = []
    for key, one in found.items():
        scores = one.scores
        lines = {**scores.per_class, "macro average": scores.macro, "weighted": scores.weighted}
        rows = [
            (name, *(f"{value:.4f}" for value in (line.precision, line.recall, line.f1)), str(line.support))
            for name, line in lines.items()
        ]
        tables.append(table(head, rows, caption=key))
    yield side(tables)


def _confusion(found: Ensembles, classes: Sequence[str]) -> Iterator[Markup]:
    charts = [
        figure(
            confusion_chart(classes, one.scores.confusion, alt=f"confusion of {key}"),
            f"{key}: {one.scores.correct} of {one.scores.images} right",
        )
        for key, one in found.items()
    ]
    yield side(charts)
