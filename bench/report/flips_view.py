"""The part of a report that sets a bundle beside its reference: how far answers moved, each flip with its picture."""

from collections.abc import Iterator, Sequence
from typing import Final

from braintumor.bench.accuracy.comparison import Comparison, Flip
from braintumor.bench.accuracy.result import AccuracyResult
from braintumor.bench.report.charts import Interval, interval_chart
from braintumor.bench.report.format import decimals, percent
from braintumor.bench.report.html import Markup, figure, markup, paragraph, section, table
from braintumor.bench.report.naming import Named, named

__all__ = ["comparison_sections"]

_SHOWN: Final = 64

Compared = Sequence[tuple[Named, Comparison]]
"""Bundles that have a reference, each with its comparison."""


def comparison_sections(accuracy: AccuracyResult) -> Iterator[Markup]:
    """The chapters that need a reference."""
    compared = [(one, found) for one in named(accuracy) if (found := one.result.comparison) is not None]
    if not compared:
        return
    yield section(
        "Beside the reference",
        [
            _differences(compared),
            _distances(compared),
            _pairs(compared),
            paragraph(
                "McNemar's exact test and the bootstrap are for information. That a difference is not significant "
                "proves nothing; the verdict rests on the lower end alone.",
                "soft",
            ),
        ],
    )
    classes = accuracy.images.classes
    yield section("Flips", [part for one, found in compared for part in _flips(one, found, classes)])


def _differences(compared: Compared) -> Markup:
    margin = compared[0][0].result.verdict.margin_points
    return figure(
        interval_chart(
            [_difference(one.key, found) for one, found in compared],
            axis="accuracy of the bundle less that of its reference, points",
            alt="difference of accuracy from the reference",
            at=-margin,
        ),
        f"Paired difference with Tango's two-sided 95 % interval. Dashed: the margin of {margin:g} points. Triangle: "
        "the one-sided 95 % lower end; a bundle is accepted when it lies right of the margin.",
    )


def _difference(key: str, found: Comparison) -> Interval:
    low, high = found.tango_interval_points
    value = found.accuracy_difference_points
    return Interval(
        key,
        value,
        low,
        high,
        f"{value:+.2f} [{low:+.2f}, {high:+.2f}]",
        decides=found.tango_lower_one_sided_points,
    )


def _distances(compared: Compared) -> Markup:
    head = (
        "bundle",
        "reference",
        "flips",
        "difference",
        "lower end",
        "McNemar p",
        "max |Δp|",
        "mean |Δp|",
        "KL, nats",
    )
    rows = [
        (
            one.key,
            one.reference_key,
            f"{found.flips.count} of {found.flips.total}",
            f"{found.accuracy_difference_points:+.2f}",
            f"{found.tango_lower_one_sided_points:+.2f}",
            f"{found.mcnemar_p:.3g}",
            _small(found.max_abs_difference),
            _small(found.mean_abs_difference),
            _small(found.kl_mean_nats),
        )
        for one, found in compared
    ]
    return table(head, rows, text_columns=2)


def _small(value: float | None) -> str:
    return decimals(value) if value is None else f"{value:.2g}"


def _pairs(compared: Compared) -> Markup:
    counts = ("both right", "only reference", "only bundle", "both wrong")
    rows = [
        (
            one.key,
            str(found.both_right),
            str(found.only_reference_right),
            str(found.only_deployed_right),
            str(found.both_wrong),
            "[{:+.2f}, {:+.2f}]".format(*found.bootstrap_interval_points),
            decimals(found.reference_margin_mean),
            decimals(found.margin_mean),
        )
        for one, found in compared
    ]
    return table(("bundle", *counts, "bootstrap interval", "margin before", "now"), rows)


def _flips(one: Named, found: Comparison, classes: Sequence[str]) -> Iterator[Markup]:
    yield Markup(f"<h3>{markup(one.key)}</h3>")
    if not found.flipped:
        yield paragraph(f"No label differs from that of {one.reference_key}.")
        return
    cards = "".join(_card(flip, classes) for flip in found.flipped[:_SHOWN])
    yield Markup(f'<div class="cards">{cards}</div>')
    if len(found.flipped) > _SHOWN:
        yield paragraph(f"{len(found.flipped) - _SHOWN} more stand in the JSON file.", "soft")


def _card(flip: Flip, classes: Sequence[str]) -> Markup:
    alt = f"{flip.name}, {flip.truth}"
    picture = (
        Markup(f'<img alt="{markup(alt)}" src="data:image/png;base64,{markup(flip.png_base64)}">')
        if flip.png_base64
        else Markup("")
    )
    outcomes = {flip.label: "now right", flip.reference_label: "now wrong"}
    lines = (
        Markup(f"<b>{outcomes.get(flip.truth, 'wrong before and now')}</b>"),
        f"truth {flip.truth}",
        f"reference {_answer(flip.reference_label, flip.reference_probabilities, classes)}",
        f"bundle {_answer(flip.label, flip.probabilities, classes)}",
        f"margin {decimals(flip.reference_margin, 3)}, now {decimals(flip.margin, 3)}",
        flip.name,
    )
    return Markup(f'<div class="card">{picture}<div>{"<br>".join(markup(line) for line in lines)}</div></div>')


def _answer(label: str | None, probabilities: Sequence[float] | None, classes: Sequence[str]) -> str:
    if label is None or probabilities is None:
        return "no finite answer"
    # A space that does not break.
    return f"{label} {percent(probabilities[classes.index(label)], 1)}".replace(" %", "\u00a0%")
