"""The tasks of `bt-doctor`, run in a process of their own: a library that aborts or hangs ends only that one.

    python -m braintumor.runtime.doctor.worker TASK ARGUMENT...

prints one JSON object on standard output: {"ok": true, "facts": {…}} or {"ok": false, "error": class,
"missing": module or null, "reason": text, "remedy": text}. What a library prints goes to standard error.
"""

import base64
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from braintumor.child import end_with_parent
from braintumor.errors import BraintumorError, UsageError
from braintumor.optional import import_without_telemetry

__all__ = ["PROBE_MODEL", "TASKS", "main"]

PROBE_MODEL: Final = base64.b64decode(
    "CAg6mwMKHgoFaW1hZ2USBGdyZXkiBENhc3QqCQoCdG8YAaABAgovCgRncmV5CgRheGlzEgRyb3dzIgpSZWR1Y2VNZWFuKg8KCGtlZXBkaW1zGACgAQIK"
    "HwoEcm93cwoHd2VpZ2h0cxIGbG9naXRzIgZNYXRNdWwKLQoGbG9naXRzEg1wcm9iYWJpbGl0aWVzIgdTb2Z0bWF4KgsKBGF4aXMYAaABAhIFcHJvYmUq"
    "FAgBEAdCBGF4aXNKCAIAAAAAAAAAKpIBCAgIBBABQgd3ZWlnaHRzSoABAAAAAAAAgDoAAAA7AABAOwAAgDsAAKA7AADAOwAA4DsAAAA8AAAQPAAAIDwA"
    "ADA8AABAPAAAUDwAAGA8AABwPAAAgDwAAIg8AACQPAAAmDwAAKA8AACoPAAAsDwAALg8AADAPAAAyDwAANA8AADYPAAA4DwAAOg8AADwPAAA+DxaIAoF"
    "aW1hZ2USFwoVCAISEQoHEgViYXRjaAoCCAgKAggIYiQKDXByb2JhYmlsaXRpZXMSEwoRCAESDQoHEgViYXRjaAoCCARCBAoAEBI="
)
"""A member of 422 bytes: softmax(mean over the columns @ arange(32).reshape(8, 4) / 1024), ONNX opset 18."""

_SIDE: Final = 8
# Wide enough for float16 and bfloat16, far narrower than what a wrong kernel gives.
_TOLERANCE: Final = 0.02


def _library(module: str, landmark: str) -> Mapping[str, Any]:
    """Import it, and look for a name that a whole installation has."""
    loaded = import_without_telemetry(module)
    return {"version": getattr(loaded, "__version__", None), "whole": hasattr(loaded, landmark)}


def _engine(name: str) -> Mapping[str, Any]:
    """Have the registry's own engine classify two images, and check the result."""
    import numpy as np

    from braintumor.runtime.bundle.load import Member
    from braintumor.runtime.engines.registry import engine_factory

    images = np.arange(2 * _SIDE * _SIDE, dtype=np.uint8).reshape(2, _SIDE, _SIDE)
    powers = np.exp(images.mean(axis=2) @ (np.arange(4 * _SIDE).reshape(_SIDE, 4) / 1024))
    expected = powers / powers.sum(axis=1, keepdims=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "probe.onnx"
        path.write_bytes(PROBE_MODEL)
        digest = hashlib.sha256(PROBE_MODEL).hexdigest()
        member = Member("probe", 1.0, _SIDE, _SIDE, "antialias", "fp32", path, digest, {})
        with engine_factory(name)(member, threads=1, device=0) as engine:
            error = float(np.abs(engine.infer(images) - expected).max())
            info = engine.info
    if not error <= _TOLERANCE:  # so that NaN is wrong, too
        raise ArithmeticError(f"its answer is off by {error:.3g}; allowed is {_TOLERANCE}")
    return {"provider": info.provider, "device": info.device, "version": info.version}


def _openvino_devices() -> Mapping[str, Any]:
    """OpenVINO's devices and their full names."""
    core = import_without_telemetry("openvino").Core()
    return {device: str(core.get_property(device, "FULL_DEVICE_NAME")) for device in core.available_devices}


def _bundle() -> Mapping[str, Any]:
    """The bundle that `bt-infer` would take here, verified."""
    from braintumor.runtime.bundle.load import load_bundle
    from braintumor.runtime.bundle.starter import exported_starter
    from braintumor.runtime.inputs import find_bundle

    folder = find_bundle(None)
    bundle = exported_starter() if folder is None else load_bundle(folder)
    if bundle is None:
        raise UsageError(
            "none yet: the first bt-infer exports the models that come with the package into the cache, which takes "
            "about half a minute"
        )
    members = [member.name for member in bundle.members]
    return {"folder": str(bundle.folder), "sha256": bundle.sha256, "precision": bundle.precision, "members": members}


TASKS: Final[Mapping[str, Callable[..., Mapping[str, Any]]]] = MappingProxyType(
    {"library": _library, "engine": _engine, "openvino-devices": _openvino_devices, "bundle": _bundle}
)


def _answer(task: str, *arguments: str) -> Mapping[str, Any]:
    try:
        return {"ok": True, "facts": TASKS[task](*arguments)}
    except Exception as error:  # noqa: BLE001 - whatever a broken library raises is the result
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        message, remedy = (error.message, error.remedy) if isinstance(error, BraintumorError) else (str(error), "")
        reason = " ".join(message.split())
        return {"ok": False, "error": type(error).__name__, "missing": missing, "reason": reason, "remedy": remedy}


def main() -> None:
    """Run one task and print its result."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answer:
        # Native code prints where it likes: the answer alone has standard output.
        os.dup2(2, 1)
        json.dump(_answer(*sys.argv[1:]), answer)
    # A library that crashes while it is unloaded has done its task all the same.
    os._exit(0)


if __name__ == "__main__":
    end_with_parent()
    main()
