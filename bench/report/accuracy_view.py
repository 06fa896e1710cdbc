"""The part of a report on decisions: from the JSON of `bt-bench accuracy` to tables and charts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from braintumor.bench.report.charts import Interval, interval_chart
from braintumor.bench.report.charts_plane import confusion_chart
from braintumor.bench.report.format import decimals, interval_text, named, percent
from braintumor.bench.report.html import Markup, figure, paragraph, section, side, table

__all__ = ["accuracy_sections", "contenders"]

_FREE: Final = "without near-duplicates"


def accuracy_sections(told: Mapping[str, Any]) -> Iterator[Markup]:
    """The chapters on decisions, but for the flips.

    Args:
        told: JSON of schema `braintumor.accuracy/1`.
    """
    found = contenders(told)
    yield section("Leaderboard", _leaderboard(found))
    yield section("Healthy and sick", _healthy_and_sick(found))
    yield section("By class", _by_class(found))
    yield section("Confusion", _confusion(found, told["images"]["classes"]))


def contenders(told: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Key → how an ensemble does: every bundle, then every reference once."""
    bundles = named(told)["bundles"]
    found: dict[str, Mapping[str, Any]] = {one["key"]: one for one in bundles}
    for one in bundles:
        if one["reference"] is not None:
            found.setdefault(one["reference"]["key"], one["reference"])
    return found


def _leaderboard(found: Mapping[str, Mapping[str, Any]]) -> Iterator[Markup]:
    rows, shown = [], []
    for key, one in found.items():
        rows.append(_scores_row(key, one["scores"], one["near_duplicate_free"]))
        shown.append(_interval(key, one["scores"]))
        rows += [_scores_row(f"\u2003{member['name']}", member["scores"], None) for member in one["members"]]
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


def _interval(key: str, scores: Mapping[str, Any]) -> Interval:
    low, high = (100 * end for end in scores["interval"])
    return Interval(key, 100 * scores["accuracy"], low, high, f"{scores['correct']} of {scores['images']}")


def _scores_row(name: str, scores: Mapping[str, Any], free: Mapping[str, Any] | None) -> tuple[str, ...]:
    return (
        name,
        percent(scores["accuracy"]),
        interval_text(scores["interval"]),
        "" if free is None else f"{percent(free['accuracy'])} of {free['images']}",
        decimals(scores["loss"]),
        decimals(scores["brier"]),
        percent(scores["ece"]),
    )


def _healthy_and_sick(found: Mapping[str, Mapping[str, Any]]) -> Iterator[Markup]:
    kinds = (("sick_called_healthy", "sick called healthy"), ("healthy_called_sick", "healthy called sick"))
    rows = [
        (key, *(_mistakes(one["scores"][kind]) for kind, _ in kinds))
        for key, one in found.items()
        if any(one["scores"][kind] for kind, _ in kinds)
    ]
    if rows:
        yield table(("ensemble", *(name for _, name in kinds)), rows)
        yield paragraph(
            "A count of 0 is no proof of 0: the interval says up to which share the images leave possible.", "soft"
        )


def _mistakes(share: Mapping[str, Any] | None) -> str:
    if share is None:
        return "–"  # noqa: RUF001 - a dash
    return f"{share['count']} of {share['total']} ({percent(share['share'])} {interval_text(share['interval'])})"


def _by_class(found: Mapping[str, Mapping[str, Any]]) -> Iterator[Markup]:
    head = ("class", "precision", "recall", "F1", "support")
    tables = []
    for key, one in found.items():
        scores = one["scores"]
        lines = [*scores["per_class"].items(), ("macro average", scores["macro"]), ("weighted", scores["weighted"])]
        rows = [
            (name, *(f"{line[part]:.4f}" for part in ("precision", "recall", "f1")), str(line["support"]))
            for name, line in lines
        ]
        tables.append(table(head, rows, caption=key))
    yield side(tables)


def _confusion(found: Mapping[str, Mapping[str, Any]], classes: Sequence[str]) -> Iterator[Markup]:
    charts = [
        figure(
            confusion_chart(classes, one["scores"]["confusion"], alt=f"confusion of {key}"),
            f"{key}: {one['scores']['correct']} of {one['scores']['images']} right",
        )
        for key, one in found.items()
    ]
    yield side(charts)
