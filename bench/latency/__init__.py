"""`bt-bench latency`: how fast bundles and baselines run."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.bench.latency.measure import measure_latency
    from braintumor.bench.latency.options import LatencyOptions
    from braintumor.bench.latency.result import LatencyResult, RunnerResult

__all__ = ["LatencyOptions", "LatencyResult", "RunnerResult", "measure_latency"]

__getattr__ = lazy_getattr(
    __name__,
    measure=("measure_latency",),
    options=("LatencyOptions",),
    result=("LatencyResult", "RunnerResult"),
)
