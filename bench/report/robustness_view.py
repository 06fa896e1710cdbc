"""The part of a report on calibration, and on what must not decide: the batch, the run, a slight change."""

from collections.abc import Iterator, Mapping, Sequence

from braintumor.bench.accuracy.result import AccuracyResult, EnsembleResult
from braintumor.bench.report.charts_plane import Bin, reliability_chart
from braintumor.bench.report.format import decimals, percent
from braintumor.bench.report.html import Markup, figure, paragraph, section, side, table
from braintumor.bench.report.naming import Named, ensembles, named

__all__ = ["trial_sections"]


def trial_sections(accuracy: AccuracyResult) -> Iterator[Markup]:
    """The chapters on calibration and robustness."""
    found, bundles = ensembles(accuracy), named(accuracy)
    yield section("Calibration", _calibration(found))
    yield section("Robustness", [*_robustness(found), *_stability(bundles)])
    yield section("What the verdict rests on", _findings(bundles))


def _calibration(found: Mapping[str, EnsembleResult]) -> Iterator[Markup]:
    curves = {
        key: [Bin(b.confidence, b.accuracy, b.count) for b in one.scores.reliability if b.count]
        for key, one in found.items()
        if one.scores.reliability
    }
    if curves:
        charts = (figure(reliability_chart(bins, alt=f"reliability of {key}"), key) for key, bins in curves.items())
        yield side(charts)
        yield paragraph(
            "Share that is right over the mean confidence, in bins; on the line, confidence means what it says. The "
            "larger a mark, the more images; hollow under 10.",
            "soft",
        )
    rows = [
        (key, percent(one.scores.ece), decimals(one.scores.brier), decimals(one.scores.loss))
        for key, one in found.items()
    ]
    yield table(("ensemble", "expected calibration error", "Brier score", "loss, nats"), rows)


def _robustness(found: Mapping[str, EnsembleResult]) -> Iterator[Markup]:
    tried = {key: one.robustness.perturbations for key, one in found.items() if one.robustness is not None}
    if not tried:
        yield paragraph("Small changes of the images were not tried (--robustness 0).", "soft")
        return
    names = list(dict.fromkeys(name for one in tried.values() for name in one))
    rows = [
        (
            name,
            *(f"{one[name].flips.count} of {one[name].flips.total}" if name in one else "" for one in tried.values()),
        )
        for name in names
    ]
    yield table(("labels that change under", *tried), rows)


def _stability(bundles: Sequence[Named]) -> Iterator[Markup]:
    rows = []
    for one in bundles:
        found = one.result.stability
        rows.append(
            (
                one.key,
                f"{found.labels_differing_batches} of {found.images}",
                _spread(found.max_abs_difference_batches),
                f"{found.labels_differing_runs} of {found.images}",
                _spread(found.max_abs_difference_runs),
            )
        )
    first = bundles[0].result.stability
    sizes, runs = ", ".join(map(str, first.batch_sizes)), first.runs
    head = ("bundle", f"labels that depend on the batch ({sizes})", "max |Δp|", f"on the run ({runs})", "max |Δp|")
    yield table(head, rows)


def _spread(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.2g}"


def _findings(bundles: Sequence[Named]) -> Iterator[Markup]:
    for one in bundles:
        rows = [
            (finding.check, "yes" if finding.passed else "NO", finding.text)
            for finding in one.result.verdict.findings
        ]
        yield table(("looked at", "passed", "found"), rows, text_columns=3, caption=one.key)
