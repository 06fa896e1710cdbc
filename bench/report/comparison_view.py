"""Tables and charts that compare a bundle with its reference: differences, and each flip with its picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from braintumor.bench.accuracy.comparison import Comparison, Flip
from braintumor.bench.accuracy.result import AccuracyResult
from braintumor.bench.report.chart import Chart
from braintumor.bench.report.charts import Interval, interval_chart
from braintumor.bench.report.format import decimals, percent
from braintumor.bench.report.html import Table
from braintumor.bench.report.naming import NamedBundle, named_bundles

__all__ = ["BundleFlips", "ComparisonView", "FlipCard", "comparison_view"]

_MAX_CARDS: Final = 64

Compared = Sequence[tuple[NamedBundle, Comparison]]
"""Bundles that have a reference, each with its comparison."""


@dataclass(frozen=True, slots=True)
class FlipCard:
    """An image that a bundle and its reference label differently.

    Attributes:
        alt: Name and truth.
        png_base64: The image; None where the file has none.
        outcome: Which of the two is right.
        lines: Truth and answers.
    """

    alt: str
    png_base64: str | None
    outcome: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BundleFlips:
    """The flips of one bundle: those that are shown, and how many more there are."""

    key: str
    reference_key: str
    cards: Sequence[FlipCard]
    hidden: int


@dataclass(frozen=True, slots=True, eq=False)
class ComparisonView:
    """Contents of templates/comparison.html.j2.

    Attributes:
        differences: Paired difference of accuracy of each bundle, with its interval.
        differences_caption: What its marks mean.
        distances: How far labels and probabilities moved.
        pairs: How often each of the two is right.
        flips: Of each bundle.
    """

    differences: Chart
    differences_caption: str
    distances: Table
    pairs: Table
    flips: Sequence[BundleFlips]


def comparison_view(accuracy: AccuracyResult) -> ComparisonView | None:
    """Draw and tabulate the comparisons of a result; None where no bundle has a reference."""
    compared = [
        (bundle, comparison)
        for bundle in named_bundles(accuracy)
        if (comparison := bundle.result.comparison) is not None
    ]
    if not compared:
        return None
    margin = compared[0][0].result.verdict.margin_points
    return ComparisonView(
        differences=interval_chart(
            [_difference(bundle.key, comparison) for bundle, comparison in compared],
            axis="accuracy of the bundle less that of its reference, points",
            alt="difference of accuracy from the reference",
            threshold=-margin,
        ),
        differences_caption=(
            f"Paired difference with Tango's two-sided 95 % interval. Dashed: the margin of {margin:g} points. "
            "Triangle: the one-sided 95 % lower end; a bundle is accepted when it lies right of the margin."
        ),
        distances=_distances(compared),
        pairs=_pairs(compared),
        flips=[_flips(bundle, comparison, accuracy.images.classes) for bundle, comparison in compared],
    )


def _difference(key: str, comparison: Comparison) -> Interval:
    low, high = comparison.tango_interval_points
    value = comparison.accuracy_difference_points
    label = f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"
    return Interval(key, value, low, high, label, bound=comparison.tango_lower_one_sided_points)


def _distances(compared: Compared) -> Table:
    distances = ("flips", "difference", "lower end", "McNemar p", "max |Δp|", "mean |Δp|", "KL, nats")
    rows = [
        (
            bundle.key,
            bundle.reference_key,
            f"{comparison.flips.count} of {comparison.flips.total}",
            f"{comparison.accuracy_difference_points:+.2f}",
            f"{comparison.tango_lower_one_sided_points:+.2f}",
            f"{comparison.mcnemar_p:.3g}",
            _small(comparison.max_abs_difference),
            _small(comparison.mean_abs_difference),
            _small(comparison.kl_mean_nats),
        )
        for bundle, comparison in compared
    ]
    return Table(("bundle", "reference", *distances), rows, text_columns=2)


def _small(value: float | None) -> str:
    return decimals(value) if value is None else f"{value:.2g}"


def _pairs(compared: Compared) -> Table:
    counts = ("both right", "only reference", "only bundle", "both wrong")
    rows = [
        (
            bundle.key,
            str(comparison.both_right),
            str(comparison.only_reference_right),
            str(comparison.only_deployed_right),
            str(comparison.both_wrong),
            "[{:+.2f}, {:+.2f}]".format(*comparison.bootstrap_interval_points),
            decimals(comparison.reference_margin_mean),
            decimals(comparison.margin_mean),
        )
        for bundle, comparison in compared
    ]
    return Table(("bundle", *counts, "bootstrap interval", "margin before", "now"), rows)


def _flips(bundle: NamedBundle, comparison: Comparison, classes: Sequence[str]) -> BundleFlips:
    flips = comparison.flipped
    cards = [_card(flip, classes) for flip in flips[:_MAX_CARDS]]
    return BundleFlips(bundle.key, bundle.reference_key, cards, len(flips) - len(cards))


def _card(flip: Flip, classes: Sequence[str]) -> FlipCard:
    outcomes = {flip.label: "now right", flip.reference_label: "now wrong"}
    lines = (
        f"truth {flip.truth}",
        f"reference {_answer(flip.reference_label, flip.reference_probabilities, classes)}",
        f"bundle {_answer(flip.label, flip.probabilities, classes)}",
        f"margin {decimals(flip.reference_margin, 3)}, now {decimals(flip.margin, 3)}",
        flip.name,
    )
    outcome = outcomes.get(flip.truth, "wrong before and now")
    return FlipCard(f"{flip.name}, {flip.truth}", flip.png_base64, outcome, lines)


def _answer(label: str | None, probabilities: Sequence[float] | None, classes: Sequence[str]) -> str:
    if label is None or probabilities is None:
        return "no finite answer"
    # A space that does not break.
    return f"{label} {percent(probabilities[classes.index(label)], 1)}".replace(" %", "\u00a0%")
