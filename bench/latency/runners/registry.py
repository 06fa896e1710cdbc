"""The peers, as plain data. To add one: one file here and one line."""

import importlib.util
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from braintumor.errors import UsageError

__all__ = ["PEERS", "PeerEntry", "missing_reason", "peer_entry"]


class PeerEntry(NamedTuple):
    """One peer.

    Attributes:
        target: "module:class" of its `Contender`.
        modules: What it needs, as it is imported.
        distributions: What installs them.
        own_model: It answers with a model of its own, whatever the bundle.
        options: Of this peer, beside those that all take.
        environment: Variables of its process.
    """

    target: str
    modules: tuple[str, ...]
    distributions: tuple[str, ...]
    own_model: bool = False
    options: Mapping[str, str | None] = MappingProxyType({})
    environment: Mapping[str, str] = MappingProxyType({})


_QUIET_KERAS: Final = MappingProxyType({"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"})
_OPENVINO: Final = "braintumor.bench.latency.runners.openvino:OpenVinoPeer"

PEERS: Mapping[str, PeerEntry] = MappingProxyType(
    {
        "keras": PeerEntry(
            "braintumor.bench.latency.runners.keras:KerasPeer",
            ("keras", "tensorflow"),
            ("tensorflow",),
            environment=_QUIET_KERAS,
        ),
        "onnxruntime": PeerEntry(
            "braintumor.bench.latency.runners.onnxruntime:OnnxRuntimePeer", ("onnxruntime",), ("onnxruntime",)
        ),
        # Left to itself it computes in bfloat16 where the CPU can: fast, and no longer what was exported.
        "openvino": PeerEntry(_OPENVINO, ("openvino",), ("openvino",), options={"computes_in": None}),
        "openvino-f32": PeerEntry(_OPENVINO, ("openvino",), ("openvino",), options={"computes_in": "f32"}),
        "detect-tumor": PeerEntry(
            "braintumor.bench.latency.runners.detect_tumor:DetectTumorPeer",
            ("detect_tumor",),
            ("detect-tumor",),
            own_model=True,
            # It imports ONNX Runtime by itself.
            environment=MappingProxyType({"ORT_DISABLE_TELEMETRY": "1"}),
        ),
    }
)


def peer_entry(name: str) -> PeerEntry:
    """The peer of that name.

    Raises:
        UsageError: None is called so.
    """
    if name not in PEERS:
        raise UsageError(f"no peer is called {name!r}; allowed are {', '.join(PEERS)}")
    return PEERS[name]


def missing_reason(name: str) -> str:
    """Why a peer cannot be loaded here; "" when what it needs is installed. Imports nothing."""
    entry = peer_entry(name)
    missing = [module for module in entry.modules if importlib.util.find_spec(module) is None]
    if not missing:
        return ""
    return (
        f"{', '.join(missing)} is not installed; install it with: pip install {' '.join(entry.distributions)}, or "
        "all peers with: pip install 'braintumor[peers]'"
    )
