"""The engines, as plain data. To add one: one file under `engines/` and one line here."""

import importlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from braintumor.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    # `bt-infer --help` lists the names; it must not load NumPy for that.
    from braintumor.runtime.engine import EngineFactory

__all__ = ["AUTO", "ENGINES", "candidates", "engine_factory", "none_usable"]

# Best first: "auto" takes the first that is usable.
ENGINES: Mapping[str, str] = MappingProxyType(
    {
        "onnxruntime-cuda": "braintumor.runtime.engines.onnxruntime:OnnxRuntimeCudaEngine",
        "onnxruntime-cpu": "braintumor.runtime.engines.onnxruntime:OnnxRuntimeCpuEngine",
    }
)

AUTO = "auto"


def engine_factory(name: str) -> "EngineFactory":
    """The engine class of that name.

    Raises:
        UsageError: No engine is called so.
    """
    if name not in ENGINES:
        raise UsageError(f"no engine is called {name!r}; allowed are {AUTO}, {', '.join(ENGINES)}")
    module, _, attribute = ENGINES[name].partition(":")
    factory: EngineFactory = getattr(importlib.import_module(module), attribute)
    return factory


def candidates(name: str) -> Sequence[str]:
    """The engines to try, in order: all for "auto", otherwise the named one alone (it never falls back)."""
    return tuple(ENGINES) if name == AUTO else (name,)


def none_usable(reasons: Mapping[str, UnavailableError]) -> UnavailableError:
    """The error for when no candidate was usable, with each one's reason."""
    return UnavailableError("; ".join(f"{name}: {reason}" for name, reason in reasons.items()))
