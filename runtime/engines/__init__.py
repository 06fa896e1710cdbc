"""One file an engine; `braintumor.runtime.engines.registry` names them."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.runtime.engines.base import Engine, EngineInfo
    from braintumor.runtime.engines.registry import ENGINES, engine_factory

__all__ = ["ENGINES", "Engine", "EngineInfo", "engine_factory"]

__getattr__ = lazy_getattr(
    __name__,
    base=("Engine", "EngineInfo"),
    registry=("ENGINES", "engine_factory"),
)
