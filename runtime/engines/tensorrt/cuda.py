"""The NVIDIA GPU that a plan is built for and runs on, by cuda-bindings and cuda-core."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from braintumor.errors import BraintumorError, DeviceError, OutOfMemoryError, UnavailableError
from braintumor.optional import require
from braintumor.runtime.engines.tensorrt.log import is_out_of_memory

__all__ = ["Gpu", "find_gpu", "gpu_failures"]

_REMEDY: Final = "look at nvidia-smi, or use `engine='onnxruntime-cpu'`"


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU, as far as it decides which plans it runs.

    Attributes:
        name: Such as "NVIDIA RTX A4000".
        driver: Such as "580.65.06".
        capability: Its compute capability, such as "SM86".
        index: Among this machine's; 0 is the first.
    """

    name: str
    driver: str
    capability: str
    index: int = 0


def find_gpu(index: int, *, extra: str) -> Gpu:
    """Look for a GPU.

    Args:
        index: 0 for the first.
        extra: Of this package, that installs what this needs.

    Raises:
        DeviceError: There is none of that index, or no driver that serves the installed CUDA libraries.
        UnavailableError: A package that this needs is not installed.
    """
    runtime = require("cuda.bindings.runtime", extra=extra, purpose="an engine of TensorRT's")
    error, count = runtime.cudaGetDeviceCount()
    if error != runtime.cudaError_t.cudaSuccess or not count:
        reason = "none is there" if error == runtime.cudaError_t.cudaSuccess else error.name
        if error == runtime.cudaError_t.cudaErrorInsufficientDriver:
            reason += f": its driver is missing, or too old for CUDA {runtime.CUDART_VERSION // 1000}"
        raise DeviceError(f"no NVIDIA GPU can be used here ({reason})", _REMEDY)
    if index >= count:
        devices = ", ".join(f"cuda:{number}" for number in range(count))
        raise DeviceError(f"got device cuda:{index}; this machine has {devices}", "give another `device`")
    # The larger of the two, which a machine without a GPU need not load.
    core = require("cuda.core", extra=extra, purpose="an engine of TensorRT's")
    with gpu_failures(f"cuda:{index} was opened"):
        device = core.Device(index)
        device.set_current()
        major, minor = device.compute_capability
        return Gpu(device.name, _driver(core, runtime), f"SM{major}{minor}", index)


@contextlib.contextmanager
def gpu_failures(doing: str) -> Iterator[None]:
    """Turn what CUDA raises into our errors.

    Args:
        doing: The work in the block, as in "32 images were classified".

    Raises:
        OutOfMemoryError: The GPU's memory is full.
        UnavailableError: Anything else; a GPU that fell off the bus, say.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, BraintumorError) or not _is_of_cuda(error):
            raise
        message = " ".join(str(error).split())
        if is_out_of_memory(message):
            raise OutOfMemoryError(
                f"the GPU's memory is full while {doing} ({message})", "use a smaller `batch_size`"
            ) from error
        raise UnavailableError(f"the GPU failed while {doing} ({message})", _REMEDY) from error


def _is_of_cuda(error: Exception) -> bool:
    """Whether CUDA raised it: cuda-core has no public exception class, and a missing library is a RuntimeError."""
    return isinstance(error, RuntimeError) or type(error).__module__.startswith("cuda.")


def _driver(core: ModuleType, runtime: Any) -> str:
    try:
        return ".".join(map(str, core.system.get_kernel_mode_driver_version()))
    except Exception:  # noqa: BLE001 - WSL, or a container without NVML; the CUDA version changes with the driver
        version = int(runtime.cudaDriverGetVersion()[1])
        return f"CUDA {version // 1000}.{version % 1000 // 10}"
