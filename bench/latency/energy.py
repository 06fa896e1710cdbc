"""Energy an image takes on an NVIDIA GPU, from the counter that its driver keeps (NVML; Volta and newer).

The driver's own library is asked: nothing has to be installed beside it. The counter moves every few dozen
milliseconds, so batches are answered back to back for some seconds, and the whole card is counted, its idle power and
its other users included.
"""

import ctypes
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from braintumor.bench.latency.runners.base import Contender
from braintumor.bench.metrics.timing import now_ms
from braintumor.errors import UnavailableError

__all__ = ["Energy", "energy_of", "gpu_joule"]

_LIBRARY: Final = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"


@dataclass(frozen=True, slots=True)
class Energy:
    """What a window of calls took.

    Attributes:
        joule: Of the card; None where it was not measured.
        images: Answered in that time.
        seconds: How long it was.
        reason: Why it was not measured; "" where it was.
        joule_per_image: None where it was not measured.
    """

    joule: float | None = None
    images: int = 0
    seconds: float = 0.0
    reason: str = ""
    joule_per_image: float | None = None


def energy_of(contender: Contender, batches: Sequence[Sequence[Path]], *, seconds: float) -> Energy:
    """Answer batches again and again, and read the counter before and after.

    Args:
        contender: On a GPU, or there is nothing to be read.
        batches: Image files.
        seconds: At least so long.
    """
    kind, _, index = contender.info.engine.device.partition(":")
    if kind != "cuda":
        return Energy(reason=f"it runs on {kind}; only NVIDIA GPUs have a counter that can be read without rights")
    try:
        before = gpu_joule(int(index or 0))
        start, images = now_ms(), 0
        while now_ms() - start < seconds * 1000.0:
            for batch in batches:
                contender.answer(batch)
                images += len(batch)
        joule, taken_s = gpu_joule(int(index or 0)) - before, (now_ms() - start) / 1000.0
        return Energy(joule, images, taken_s, joule_per_image=joule / images)
    except UnavailableError as error:
        return Energy(reason=str(error))


def gpu_joule(index: int) -> float:
    """Energy that a GPU has taken since its driver was loaded, in joule.

    Args:
        index: As CUDA counts, by PCI bus: `CUDA_DEVICE_ORDER=PCI_BUS_ID` where the GPUs differ.

    Raises:
        UnavailableError: No driver, no such GPU, or it keeps no counter.
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
