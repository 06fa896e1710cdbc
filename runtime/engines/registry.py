"""The engines, as plain data. To add one: one file under `engines/` and one line here."""

import importlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from braintumor.errors import BraintumorError, UnavailableError, UsageError
from braintumor.libraries import LIBRARIES

if TYPE_CHECKING:
    # `bt-infer --help` lists the names; it must not load NumPy for that.
    from braintumor.runtime.engines.base import EngineFactory

__all__ = ["AUTO", "ENGINES", "EngineEntry", "candidates", "engine_factory", "none_usable"]


class EngineEntry(NamedTuple):
    """The class of an engine, its device and its library.

    Attributes:
        target: "module:class" of its factory.
        device: "cpu", "cuda" or "gpu" (a GPU of another make): the kind of device that it uses, and no other.
        library: The one that runs it, a key of `braintumor.libraries.LIBRARIES`.
    """

    target: str
    device: str
    library: str

    @property
    def libraries(self) -> tuple[str, ...]:
        """Names of its library as it is installed: another version may be faster, or slower."""
        return LIBRARIES[self.library].distributions


_ROOM = "braintumor.runtime.engines"

# Best guess first: "auto" measures those that are usable, and takes the first where it cannot measure.
ENGINES: Mapping[str, EngineEntry] = MappingProxyType(
    {
        "tensorrt": EngineEntry(f"{_ROOM}.tensorrt.engine:TensorRtEngine", "cuda", "tensorrt"),
        "tensorrt-rtx": EngineEntry(f"{_ROOM}.tensorrt.engine:TensorRtRtxEngine", "cuda", "tensorrt-rtx"),
        "onnxruntime-cuda": EngineEntry(f"{_ROOM}.onnxruntime:OnnxRuntimeCudaEngine", "cuda", "onnxruntime"),
        "onnxruntime-cpu": EngineEntry(f"{_ROOM}.onnxruntime:OnnxRuntimeCpuEngine", "cpu", "onnxruntime"),
        "openvino-cpu": EngineEntry(f"{_ROOM}.openvino:OpenVinoCpuEngine", "cpu", "openvino"),
        "openvino-gpu": EngineEntry(f"{_ROOM}.openvino:OpenVinoGpuEngine", "gpu", "openvino"),
    }
)

AUTO = "auto"


def engine_factory(name: str) -> "EngineFactory":
    """The engine class of that name.

    Raises:
        UsageError: No engine is called so.
    """
    module, _, attribute = _entry(name).target.partition(":")
    factory: EngineFactory = getattr(importlib.import_module(module), attribute)
    return factory


def candidates(name: str, device: str | None = None) -> Sequence[str]:
    """The engines to try, in order: for a name that engine alone (it never falls back), for "auto" all that fit.

    Args:
        name: Of an engine, or "auto".
        device: "cpu", "cuda" or "gpu" to allow no other kind; None for any.

    Raises:
        UsageError: No engine is called so, or it does not run on that device.
    """
    fitting = tuple(engine for engine, entry in ENGINES.items() if device in {None, entry.device})
    if name == AUTO:
        return fitting
    entry = _entry(name)
    if name not in fitting:
        raise UsageError(
            f"the engine {name} runs on {entry.device}, got device {device}",
            f"leave one of the two out, or use the engine {', '.join(fitting)}",
        )
    return (name,)


def none_usable(reasons: Mapping[str, BraintumorError]) -> UnavailableError:
    """The error for when no candidate was usable, with the reason of each."""
    return UnavailableError("; ".join(f"{name}: {reason}" for name, reason in reasons.items()))


def _entry(name: str) -> EngineEntry:
    if name not in ENGINES:
        raise UsageError(f"no engine is called {name!r}; allowed are {AUTO}, {', '.join(ENGINES)}")
    return ENGINES[name]
