"""Times on a GPU, by its own clock: the copy of a batch to the GPU, and the work of the members.

CUDA events on the default stream. The second event is recorded after the engine has returned its result, so the time
between the two covers all work of the engine, on whatever streams.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.latency.runners.base import Runner
from braintumor.bench.latency.runners.bundle import BundleRunner
from braintumor.bench.metrics.timing import Samples
from braintumor.errors import UnavailableError
from braintumor.optional import require

__all__ = ["DeviceTimes", "device_times"]


@dataclass(frozen=True, slots=True)
class DeviceTimes:
    """Times by CUDA events.

    Attributes:
        host_to_device: Copies of one batch in every input size, from pageable memory; None where not measured.
        compute: All members on one batch, copies included; None where not measured.
        reason: Why it was not measured; "" where it was.
    """

    host_to_device: Samples | None = None
    compute: Samples | None = None
    reason: str = ""


def device_times(runner: Runner, paths: Sequence[Path], *, calls: int) -> DeviceTimes:
    """Time a batch on the GPU; without a GPU, return the reason.

    Args:
        runner: A loaded runner.
        paths: Image files of one batch.
        calls: Number of times that each is measured.
    """
    kind, _, index = runner.info.engine.device.partition(":")
    if kind != "cuda":
        return DeviceTimes(reason=f"it runs on {kind}: nothing is copied to a device")
    if not isinstance(runner, BundleRunner):
        return DeviceTimes(reason="a baseline does not say when it copies")
    images = runner.images_of(paths)
    try:
        clock = _Events(int(index or 0))
        with_copy = [clock.timed_ms(lambda: runner.compute(images)) for _ in range(calls)]
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
        """Milliseconds of some work by the GPU's clock; it must have ended when it returns."""
        self._call("cudaEventRecord", self._start, 0)
        work()
        self._call("cudaEventRecord", self._end, 0)
        self._call("cudaEventSynchronize", self._end)
        return float(self._call("cudaEventElapsedTime", self._start, self._end))

    def copied_ms(self, arrays: Sequence[NDArray[np.uint8]]) -> float:
        """Milliseconds of a copy of arrays to the GPU."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        buffers = [self._call("cudaMalloc", array.nbytes) for array in arrays]

        def copy() -> None:
            for array, buffer in zip(arrays, buffers, strict=True):
                self._call("cudaMemcpyAsync", buffer, array.ctypes.data, array.nbytes, kind, 0)

        try:
            return self.timed_ms(copy)
        finally:
            for buffer in buffers:
                self._call("cudaFree", buffer)

    def _call(self, name: str, *arguments: Any) -> Any:
        code, *results = getattr(self._cuda, name)(*arguments)
        if int(code) != 0:
            raise UnavailableError(f"CUDA's {name} answers with {code}")
        return results[0] if results else None
