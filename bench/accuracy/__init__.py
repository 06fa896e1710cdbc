"""`bt-bench accuracy`: the labels of a bundle beside those of its reference, and the verdict."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.bench.accuracy.comparison import Comparison, compare_predictions
    from braintumor.bench.accuracy.evaluate import BundleEvaluation, evaluate_bundles
    from braintumor.bench.accuracy.gate import Evidence, Verdict, decide_verdict
    from braintumor.bench.accuracy.options import AccuracyOptions
    from braintumor.bench.accuracy.result import AccuracyResult, BundleResult

__all__ = [
    "AccuracyOptions",
    "AccuracyResult",
    "BundleEvaluation",
    "BundleResult",
    "Comparison",
    "Evidence",
    "Verdict",
    "compare_predictions",
    "decide_verdict",
    "evaluate_bundles",
]

__getattr__ = lazy_getattr(
    __name__,
    comparison=("Comparison", "compare_predictions"),
    evaluate=("BundleEvaluation", "evaluate_bundles"),
    gate=("Evidence", "Verdict", "decide_verdict"),
    options=("AccuracyOptions",),
    result=("AccuracyResult", "BundleResult"),
)
