"""NVIDIA TensorRT and TensorRT for RTX."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.runtime.engines.tensorrt.build import BuildOptions, build_plan
    from braintumor.runtime.engines.tensorrt.engine import TensorRtEngine, TensorRtRtxEngine
    from braintumor.runtime.engines.tensorrt.library import load_library

__all__ = ["BuildOptions", "TensorRtEngine", "TensorRtRtxEngine", "build_plan", "load_library"]

__getattr__ = lazy_getattr(
    __name__,
    build=("BuildOptions", "build_plan"),
    engine=("TensorRtEngine", "TensorRtRtxEngine"),
    library=("load_library",),
)
