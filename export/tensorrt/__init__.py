"""`bt-engine`: TensorRT plans, built ahead of time."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.export.tensorrt.build import BuiltEngine, EngineOptions, build_engines

__all__ = ["BuiltEngine", "EngineOptions", "build_engines"]

__getattr__ = lazy_getattr(
    __name__,
    build=("BuiltEngine", "EngineOptions", "build_engines"),
)
