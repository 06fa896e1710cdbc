"""What happens on a GPU during a call, by the GPU's own clock: the copy of a batch to it, and the members' work.

CUDA events on the default stream. An engine's answer is waited for before the second event is recorded, so the time
between the two holds all that the engine did, on whatever streams.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.latency.runners.base import Contender
from braintumor.bench.latency.runners.bundle import BundleContender
from braintumor.bench.metrics.timing import Samples
from braintumor.errors import UnavailableError
from braintumor.optional import require

__all__ = ["DeviceTimes", "device_times"]


@dataclass(frozen=True, slots=True)
class DeviceTimes:
    """By CUDA events.

    Attributes:
        host_to_device: Copies of one batch for every size of input, from ordinary memory; None where not measured.
        compute: All members on one batch, copies included; None where not measured.
        reason: Why nothing was measured; "" where it was.
    """

    host_to_device: Samples | None = None
    compute: Samples | None = None
    reason: str = ""


def device_times(contender: Contender, paths: Sequence[Path], *, calls: int) -> DeviceTimes:
    """Time a batch on the GPU; without one, say why not.

    Args:
        contender: Loaded.
        paths: Image files: one batch.
        calls: How many times each is measured.
    """
    kind, _, index = contender.info.engine.device.partition(":")
    if kind != "cuda":
        return DeviceTimes(reason=f"it runs on {kind}: nothing is copied to a device")
    if not isinstance(contender, BundleContender):
        return DeviceTimes(reason="a peer does not say when it copies")
    images = contender.images_of(paths)
    try:
        clock = _Events(int(index or 0))
        with_copy = [clock.timed_ms(lambda: contender.compute(images)) for _ in range(calls)]
        copies = [clock.copied_ms(list(images.values())) for _ in range(calls)]
    except UnavailableError as error:
        return DeviceTimes(reason=str(error))
    return DeviceTimes(Samples.of(copies), Samples.of(with_copy))


class _Events:
    """Two CUDA events and the time between them."""

    def __init__(self, device: int) -> None:
        self._cuda: Any = require("cuda.bindings.runtime", extra="tensorrt", purpose="timing by CUDA events")
        self._call("cudaSetDevice", device)
        self._start = self._call("cudaEventCreate")
        self._end = self._call("cudaEventCreate")

    def timed_ms(self, work: Callable[[], object]) -> float:
        """By the GPU's clock; the work has ended when it returns."""
        self._call("cudaEventRecord", self._start, 0)
        work()
        self._call("cudaEventRecord", self._end, 0)
        self._call("cudaEventSynchronize", self._end)
        return float(self._call("cudaEventElapsedTime", self._start, self._end))

    def copied_ms(self, arrays: Sequence[NDArray[np.uint8]]) -> float:
        """Copy arrays to the GPU."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        places = [self._call("cudaMalloc", array.nbytes) for array in arrays]

        def copy() -> None:
            for array, place in zip(arrays, places, strict=True):
                self._call("cudaMemcpyAsync", place, array.ctypes.data, array.nbytes, kind, 0)

        try:
            return self.timed_ms(copy)
        finally:
            for place in places:
                self._call("cudaFree", place)

    def _call(self, name: str, *arguments: Any) -> Any:
        code, *found = getattr(self._cuda, name)(*arguments)
        if int(code) != 0:
            raise UnavailableError(f"CUDA's {name} answers with {code}")
        return found[0] if found else None
