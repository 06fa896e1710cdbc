"""The facts of a machine that decide which engine is fastest: a key for what was measured on it."""

import importlib.metadata
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from braintumor.system.cpu import cpu_features

__all__ = ["library_versions", "machine_fingerprint"]

_NVIDIA = Path("/proc/driver/nvidia")
_RENDER_NODES = Path("/dev/dri")


def machine_fingerprint(distributions: Iterable[str]) -> dict[str, Any]:
    """CPU, GPUs and their driver, and libraries, read without starting anything: it takes milliseconds.

    Args:
        distributions: Names of the libraries as they are installed.
    """
    return {
        "cpu": cpu_features(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpus": _gpus(),
        "libraries": library_versions(distributions),
    }


def library_versions(distributions: Iterable[str]) -> dict[str, str | None]:
    """The installed version of each; None for one that is not installed. Imports none of them."""
    versions: dict[str, str | None] = {}
    for name in distributions:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def _gpus() -> list[str]:
    """The system's texts about its GPUs and their driver; another text means another machine."""
    if sys.platform == "win32":
        driver = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "nvcuda.dll"
        return [f"{driver.stat().st_size} {driver.stat().st_mtime_ns}"] if driver.exists() else []
    texts = [_text(path) for path in (_NVIDIA / "version", *sorted(_NVIDIA.glob("gpus/*/information")))]
    nodes = sorted(path.name for path in _RENDER_NODES.iterdir()) if _RENDER_NODES.is_dir() else []
    return [text for text in (*texts, *nodes) if text]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
