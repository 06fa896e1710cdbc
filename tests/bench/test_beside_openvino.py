"""Bundles under every policy beside OpenVINO."""

from pathlib import Path

import pytest

from braintumor.bench.perf.beside_openvino import (
    BatchComparison,
    PolicyComparison,
    compare_policies,
    comparison_lines,
)
from braintumor.errors import UsageError


def test_compare_policies_times_every_policy_and_both_baselines(small_bundle: Path) -> None:
    pytest.importorskip("openvino")
    comparison = compare_policies([small_bundle], None, [1, 3], 2, lambda _: None)
    expected = [f"{small_bundle.name}, full", f"{small_bundle.name}, early-exit", "openvino", "openvino-f32"]
    assert list(comparison.providers) == expected
    assert [batch.batch for batch in comparison.batches] == [1, 3]
    for batch in comparison.batches:
        assert list(batch.times_ms) == expected
        assert all(len(times_ms) == 2 and min(times_ms) > 0 for times_ms in batch.times_ms.values())


@pytest.mark.parametrize(("batches", "rounds"), [([0], 1), ([1], 0)])
def test_compare_policies_refuses_nothing_to_time(small_bundle: Path, batches: list[int], rounds: int) -> None:
    with pytest.raises(UsageError, match="must be >= 1"):
        compare_policies([small_bundle], None, batches, rounds, lambda _: None)


def test_comparison_lines_show_ratios_of_turns() -> None:
    times_ms = {"int8, full": [50.0, 60.0], "openvino": [100.0, 120.0], "openvino-f32": [200.0, 240.0]}
    comparison = PolicyComparison("a CPU", dict.fromkeys(times_ms, "OpenVINO CPU"), [BatchComparison(32, times_ms)])
    cpu, batch, ours, *_ = comparison_lines(comparison)
    assert (cpu, batch) == ("CPU: a CPU", "batch 32")
    assert "0.50 [0.50, 0.50] x the time of openvino " in ours
    assert "0.25 [0.25, 0.25] x the time of openvino-f32" in ours
    assert "581.8 images/s" in ours
