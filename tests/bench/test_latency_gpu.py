"""Times and energy of a GPU: copies and members by its own clock, and the energy of an image."""

from pathlib import Path

import pytest

from braintumor.bench.latency.energy import gpu_joule
from braintumor.bench.latency.measure import measure_latency
from braintumor.bench.latency.options import LatencyOptions
from braintumor.bench.metrics.stability import Window
from braintumor.errors import UnavailableError


@pytest.mark.gpu
def test_measure_latency_on_gpu_times_copies_members_and_energy(small_bundle: Path) -> None:
    options = LatencyOptions(
        (small_bundle,),
        ("onnxruntime-cuda",),
        batches=(1, 32),
        images=32,
        window=Window(min_rounds=4, max_s=2),
    )
    (runner,) = measure_latency(options, print).runners
    for times in runner.batches:
        copied, computed = times.device.host_to_device, times.device.compute
        assert copied is not None, times.device.reason
        assert computed is not None
        assert 0 < copied.p50_ms < computed.p50_ms
        # The clocks of the GPU and of the CPU tell the same of the same work.
        assert computed.p50_ms == pytest.approx(times.stages["compute"].p50_ms, rel=0.5)
        assert times.energy.joule_per_image is not None, times.energy.reason
        assert times.energy.joule_per_image > 0


@pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="there is a driver")
def test_gpu_joule_without_driver_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match="NVML is not there"):
        gpu_joule(0)
