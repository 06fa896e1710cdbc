"""Bundles and baselines as runners, one file each; `BASELINES` lists the optional ones."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.bench.latency.runners.base import BatchPrediction, Runner, RunnerInfo, RunnerSpec
    from braintumor.bench.latency.runners.registry import BASELINES, BaselineEntry, baseline_entry

__all__ = [
    "BASELINES",
    "BaselineEntry",
    "BatchPrediction",
    "Runner",
    "RunnerInfo",
    "RunnerSpec",
    "baseline_entry",
]

__getattr__ = lazy_getattr(
    __name__,
    base=("BatchPrediction", "Runner", "RunnerInfo", "RunnerSpec"),
    registry=("BASELINES", "BaselineEntry", "baseline_entry"),
)
