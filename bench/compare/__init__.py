"""`bt-bench compare`: changes between two runs."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.bench.compare.compare import Change, Comparison, Limits, compare_files
    from braintumor.bench.compare.metrics import Metric, MetricsFile, read_metrics

__all__ = ["Change", "Comparison", "Limits", "Metric", "MetricsFile", "compare_files", "read_metrics"]

__getattr__ = lazy_getattr(
    __name__,
    compare=("Change", "Comparison", "Limits", "compare_files"),
    metrics=("Metric", "MetricsFile", "read_metrics"),
)
