"""Measurements of the project itself, run as scripts."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.bench.perf.beside_openvino import BatchComparison, PolicyComparison, compare_policies
    from braintumor.bench.perf.first_answer import FirstAnswer, measure_first_answer
    from braintumor.bench.perf.gpu_suite import Stage, StageResult, run_stage
    from braintumor.bench.perf.memory import MemoryGrowth, measure_growth
    from braintumor.bench.perf.scaling import measure_point, write_images
    from braintumor.bench.perf.scaling_result import Point, ScalingResult
    from braintumor.bench.perf.startup import StartupComparison, compare_startup

__all__ = [
    "BatchComparison",
    "FirstAnswer",
    "MemoryGrowth",
    "Point",
    "PolicyComparison",
    "ScalingResult",
    "Stage",
    "StageResult",
    "StartupComparison",
    "compare_policies",
    "compare_startup",
    "measure_first_answer",
    "measure_growth",
    "measure_point",
    "run_stage",
    "write_images",
]

__getattr__ = lazy_getattr(
    __name__,
    beside_openvino=("BatchComparison", "PolicyComparison", "compare_policies"),
    first_answer=("FirstAnswer", "measure_first_answer"),
    gpu_suite=("Stage", "StageResult", "run_stage"),
    memory=("MemoryGrowth", "measure_growth"),
    scaling=("measure_point", "write_images"),
    scaling_result=("Point", "ScalingResult"),
    startup=("StartupComparison", "compare_startup"),
)
