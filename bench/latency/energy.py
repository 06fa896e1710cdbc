"""Energy per image on an NVIDIA GPU, from the counter of its driver (NVML; Volta and newer).

Only the driver's own library is needed. The counter is updated every few dozen milliseconds, so batches run back to
back for some seconds. It counts the whole card, with its idle power and its other users.
"""

import ctypes
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from braintumor.bench.latency.runners.base import Runner
from braintumor.bench.metrics.timing import now_ms
from braintumor.errors import UnavailableError

__all__ = ["Energy", "gpu_joule", "measure_energy"]

_LIBRARY: Final = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy of calls over some seconds.

    Attributes:
        joule: Of the card; None where it was not measured.
        images: Number of images in that time.
        seconds: Length of that time.
        reason: Why it was not measured; "" where it was.
        joule_per_image: None where it was not measured.
    """

    joule: float | None = None
    images: int = 0
    seconds: float = 0.0
    reason: str = ""
    joule_per_image: float | None = None


def measure_energy(runner: Runner, batches: Sequence[Sequence[Path]], *, seconds: float) -> Energy:
    """Run batches again and again, and read the counter before and after.

    Args:
        runner: A loaded runner; one that is not on an NVIDIA GPU gives an `Energy` with a reason only.
        batches: Image files.
        seconds: At least this long.
    """
    kind, _, index = runner.info.engine.device.partition(":")
    if kind != "cuda":
        return Energy(reason=f"it runs on {kind}; only NVIDIA GPUs have a counter that can be read without rights")
    try:
        before = gpu_joule(int(index or 0))
        start, images = now_ms(), 0
        while now_ms() - start < seconds * 1000.0:
            for batch in batches:
                runner.predict(batch)
                images += len(batch)
        joule, elapsed_s = gpu_joule(int(index or 0)) - before, (now_ms() - start) / 1000.0
        return Energy(joule, images, elapsed_s, joule_per_image=joule / images)
    except UnavailableError as error:
        return Energy(reason=str(error))


def gpu_joule(index: int) -> float:
    """Energy that a GPU has taken since its driver was loaded, in joule.

    Args:
        index: In CUDA's order by PCI bus: set `CUDA_DEVICE_ORDER=PCI_BUS_ID` where the GPUs differ.

    Raises:
        UnavailableError: No driver, no such GPU, or a GPU without a counter.
    """
    try:
        nvml = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise UnavailableError(f"NVML is not there ({error}): no NVIDIA driver") from error
    handle, millijoule = ctypes.c_void_p(), ctypes.c_ulonglong()
    for name, arguments in (
        ("nvmlInit_v2", ()),
        ("nvmlDeviceGetHandleByIndex_v2", (ctypes.c_uint(index), ctypes.byref(handle))),
        ("nvmlDeviceGetTotalEnergyConsumption", (handle, ctypes.byref(millijoule))),
    ):
        if code := getattr(nvml, name)(*arguments):
            raise UnavailableError(f"NVML's {name} answers with error {code} for GPU {index}: it keeps no counter")
    return millijoule.value / 1000.0
