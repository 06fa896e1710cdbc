"""Accuracy and speed of deployed bundles, beside a reference and beside other programs."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.bench.accuracy import AccuracyOptions, AccuracyResult, evaluate_bundles
    from braintumor.bench.compare import compare_files
    from braintumor.bench.data import LabelledImages, read_labelled
    from braintumor.bench.latency import LatencyOptions, LatencyResult, measure_latency
    from braintumor.bench.metrics import Scores, Window

__all__ = [
    "AccuracyOptions",
    "AccuracyResult",
    "LabelledImages",
    "LatencyOptions",
    "LatencyResult",
    "Scores",
    "Window",
    "compare_files",
    "evaluate_bundles",
    "measure_latency",
    "read_labelled",
]

__getattr__ = lazy_getattr(
    __name__,
    accuracy=("AccuracyOptions", "AccuracyResult", "evaluate_bundles"),
    compare=("compare_files",),
    data=("LabelledImages", "read_labelled"),
    latency=("LatencyOptions", "LatencyResult", "measure_latency"),
    metrics=("Scores", "Window"),
)
