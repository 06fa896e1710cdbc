"""Tables and charts on calibration, and on what must not decide: the batch, the run, a slight change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from braintumor.bench.accuracy.result import AccuracyResult, EnsembleResult
from braintumor.bench.report.chart import Chart
from braintumor.bench.report.charts import Bin, Curve, reliability_chart
from braintumor.bench.report.format import decimals, percent
from braintumor.bench.report.html import Table
from braintumor.bench.report.naming import NamedBundle, ensembles_by_key, named_bundles

__all__ = ["RobustnessView", "robustness_view"]


@dataclass(frozen=True, slots=True, eq=False)
class RobustnessView:
    """Contents of templates/robustness.html.j2.

    Attributes:
        reliability: A chart and its caption for each ensemble whose file has the bins.
        calibration: Calibration error, Brier score and loss.
        perturbations: Labels that slight changes of the images change; None where none were tried.
        stability: Labels that depend on the batch or the run.
        findings: What each verdict rests on, a table a bundle.
    """

    reliability: Sequence[tuple[Chart, str]]
    calibration: Table
    perturbations: Table | None
    stability: Table
    findings: Sequence[Table]


def robustness_view(accuracy: AccuracyResult) -> RobustnessView:
    """Draw and tabulate a result."""
    ensembles, bundles = ensembles_by_key(accuracy), named_bundles(accuracy)
    return RobustnessView(
        reliability=_reliability(ensembles),
        calibration=_calibration(ensembles),
        perturbations=_perturbations(ensembles),
        stability=_stability(bundles),
        findings=[_findings(bundle) for bundle in bundles],
    )


def _reliability(ensembles: Mapping[str, EnsembleResult]) -> list[tuple[Chart, str]]:
    charts = []
    for key, ensemble in ensembles.items():
        if ensemble.scores.reliability:
            bins = [
                Bin(item.confidence, item.accuracy, item.count) for item in ensemble.scores.reliability if item.count
            ]
            charts.append((reliability_chart([Curve(bins)], alt=f"reliability of {key}"), key))
    return charts


def _calibration(ensembles: Mapping[str, EnsembleResult]) -> Table:
    rows = [
        (key, percent(ensemble.scores.ece), decimals(ensemble.scores.brier), decimals(ensemble.scores.loss))
        for key, ensemble in ensembles.items()
    ]
    return Table(("ensemble", "expected calibration error", "Brier score", "loss, nats"), rows)


def _perturbations(ensembles: Mapping[str, EnsembleResult]) -> Table | None:
    tried = {
        key: ensemble.robustness.perturbations
        for key, ensemble in ensembles.items()
        if ensemble.robustness is not None
    }
    if not tried:
        return None
    names = dict.fromkeys(name for perturbations in tried.values() for name in perturbations)
    rows = [
        (
            name,
            *(
                f"{perturbations[name].flips.count} of {perturbations[name].flips.total}"
                if name in perturbations
                else ""
                for perturbations in tried.values()
            ),
        )
        for name in names
    ]
    return Table(("labels that change under", *tried), rows)


def _stability(bundles: Sequence[NamedBundle]) -> Table:
    rows = []
    for bundle in bundles:
        stability = bundle.result.stability
        rows.append(
            (
                bundle.key,
                f"{stability.labels_differing_batches} of {stability.images}",
                _largest(stability.max_abs_difference_batches),
                f"{stability.labels_differing_runs} of {stability.images}",
                _largest(stability.max_abs_difference_runs),
            )
        )
    first = bundles[0].result.stability
    sizes, runs = ", ".join(map(str, first.batch_sizes)), first.runs
    head = ("bundle", f"labels that depend on the batch ({sizes})", "max |Δp|", f"on the run ({runs})", "max |Δp|")
    return Table(head, rows)


def _largest(difference: float | None) -> str:
    return "not finite" if difference is None else f"{difference:.2g}"


def _findings(bundle: NamedBundle) -> Table:
    rows = [
        (finding.check, "yes" if finding.passed else "NO", finding.text) for finding in bundle.result.verdict.findings
    ]
    return Table(("check", "passed", "finding"), rows, text_columns=3, caption=bundle.key)
