"""The part of a report that sets a bundle beside its reference: how far answers moved, each flip with its picture."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from braintumor.bench.report.charts import Interval, interval_chart
from braintumor.bench.report.format import decimals, named, percent
from braintumor.bench.report.html import Markup, figure, markup, paragraph, section, table

__all__ = ["comparison_sections"]

_SHOWN: Final = 64


def comparison_sections(told: Mapping[str, Any]) -> Iterator[Markup]:
    """The chapters that need a reference.

    Args:
        told: JSON of schema `braintumor.accuracy/1`.
    """
    compared = [one for one in named(told)["bundles"] if one["comparison"] is not None]
    if not compared:
        return
    yield section("Beside the reference", _beside(compared))
    classes = told["images"]["classes"]
    yield section("Flips", [part for one in compared for part in _flips(one, classes)])


def _beside(compared: Sequence[Mapping[str, Any]]) -> Iterator[Markup]:
    margin = compared[0]["verdict"]["margin_points"]
    yield figure(
        interval_chart(
            [_difference(one) for one in compared],
            axis="accuracy of the bundle less that of its reference, points",
            alt="difference of accuracy from the reference",
            at=-margin,
        ),
        f"Paired difference with Tango's two-sided 95 % interval. Dashed: the margin of {margin:g} points. Triangle: "
        "the one-sided 95 % lower end; a bundle is accepted when it lies right of the margin.",
    )
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
    rows: list[tuple[str, ...]] = []
    for one in compared:
        found = one["comparison"]
        rows.append(
            (
                one["key"],
                one["reference"]["key"],
                f"{found['flips']['count']} of {found['flips']['total']}",
                f"{found['accuracy_difference_points']:+.2f}",
                f"{found['tango_lower_one_sided_points']:+.2f}",
                f"{found['mcnemar_p']:.3g}",
                _small(found["max_abs_difference"]),
                _small(found["mean_abs_difference"]),
                _small(found["kl_mean_nats"]),
            )
        )
    yield table(head, rows, text_columns=2)
    kinds = (
        "both right",
        "only reference",
        "only bundle",
        "both wrong",
        "bootstrap interval",
        "margin before",
        "now",
    )
    names = ("both_right", "only_reference_right", "only_deployed_right", "both_wrong")
    rows = [
        (
            one["key"],
            *(str(one["comparison"][name]) for name in names),
            "[{:+.2f}, {:+.2f}]".format(*one["comparison"]["bootstrap_interval_points"]),
            decimals(one["comparison"]["reference_margin_mean"]),
            decimals(one["comparison"]["margin_mean"]),
        )
        for one in compared
    ]
    yield table(("bundle", *kinds), rows)
    yield paragraph(
        "McNemar's exact test and the bootstrap are for information. That a difference is not significant proves "
        "nothing; the verdict rests on the lower end alone.",
        "soft",
    )


def _difference(one: Mapping[str, Any]) -> Interval:
    found = one["comparison"]
    low, high = found["tango_interval_points"]
    value = found["accuracy_difference_points"]
    return Interval(
        one["key"],
        value,
        low,
        high,
        f"{value:+.2f} [{low:+.2f}, {high:+.2f}]",
        decides=found["tango_lower_one_sided_points"],
    )


def _small(value: float | None) -> str:
    return decimals(value) if value is None else f"{value:.2g}"


def _flips(one: Mapping[str, Any], classes: Sequence[str]) -> Iterator[Markup]:
    flipped = one["comparison"]["flipped"]
    yield Markup(f"<h3>{markup(one['key'])}</h3>")
    if not flipped:
        yield paragraph(f"No label differs from that of {one['reference']['key']}.")
        return
    cards = "".join(_card(flip, classes) for flip in flipped[:_SHOWN])
    yield Markup(f'<div class="cards">{cards}</div>')
    if len(flipped) > _SHOWN:
        yield paragraph(f"{len(flipped) - _SHOWN} more stand in the JSON file.", "soft")


def _card(flip: Mapping[str, Any], classes: Sequence[str]) -> Markup:
    alt = f"{flip['name']}, {flip['truth']}"
    picture = (
        Markup(f'<img alt="{markup(alt)}" src="data:image/png;base64,{markup(flip["png_base64"])}">')
        if flip.get("png_base64")
        else Markup("")
    )
    outcomes = {flip["label"]: "now right", flip["reference_label"]: "now wrong"}
    lines = (
        Markup(f"<b>{outcomes.get(flip['truth'], 'wrong before and now')}</b>"),
        f"truth {flip['truth']}",
        f"reference {_answer(flip['reference_label'], flip['reference_probabilities'], classes)}",
        f"bundle {_answer(flip['label'], flip['probabilities'], classes)}",
        f"margin {decimals(flip['reference_margin'], 3)}, now {decimals(flip['margin'], 3)}",
        flip["name"],
    )
    return Markup(f'<div class="card">{picture}<div>{"<br>".join(markup(line) for line in lines)}</div></div>')


def _answer(label: str | None, probabilities: Sequence[float] | None, classes: Sequence[str]) -> str:
    if label is None or probabilities is None:
        return "no finite answer"
    # A space that does not break.
    return f"{label} {percent(probabilities[classes.index(label)], 1)}".replace(" %", "\u00a0%")
