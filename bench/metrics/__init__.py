"""Metrics of labels and of times, with their intervals."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.bench.metrics.classification import Scores, predicted_labels, scores
    from braintumor.bench.metrics.environment import Environment
    from braintumor.bench.metrics.intervals import Pairs, Share, clopper_pearson, mcnemar_p, tango_interval
    from braintumor.bench.metrics.paired import PairedMetrics, paired_metrics
    from braintumor.bench.metrics.pareto import MeasuredEnsemble, ParetoPoint, pareto_front, subset_points
    from braintumor.bench.metrics.parity import Parity
    from braintumor.bench.metrics.process import ProcessRun, run_process
    from braintumor.bench.metrics.ratio import Ratio, paired_ratio
    from braintumor.bench.metrics.stability import Window, measure_until_stable
    from braintumor.bench.metrics.timing import Samples, timed_ms

__all__ = [
    "Environment",
    "MeasuredEnsemble",
    "PairedMetrics",
    "Pairs",
    "ParetoPoint",
    "Parity",
    "ProcessRun",
    "Ratio",
    "Samples",
    "Scores",
    "Share",
    "Window",
    "clopper_pearson",
    "mcnemar_p",
    "measure_until_stable",
    "paired_metrics",
    "paired_ratio",
    "pareto_front",
    "predicted_labels",
    "run_process",
    "scores",
    "subset_points",
    "tango_interval",
    "timed_ms",
]

__getattr__ = lazy_getattr(
    __name__,
    classification=("Scores", "predicted_labels", "scores"),
    environment=("Environment",),
    intervals=("Pairs", "Share", "clopper_pearson", "mcnemar_p", "tango_interval"),
    paired=("PairedMetrics", "paired_metrics"),
    pareto=("MeasuredEnsemble", "ParetoPoint", "pareto_front", "subset_points"),
    parity=("Parity",),
    process=("ProcessRun", "run_process"),
    ratio=("Ratio", "paired_ratio"),
    stability=("Window", "measure_until_stable"),
    timing=("Samples", "timed_ms"),
)
