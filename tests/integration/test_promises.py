"""The promises about start-up and memory, as ratios within one run."""

import subprocess
from pathlib import Path

import pytest

from braintumor.bench.perf.memory import measure_growth
from braintumor.bench.perf.startup import compare_startup
from tests.support.paths import BIN, ROOT


@pytest.fixture(scope="module")
def bundle(shipped_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("promises") / "fp32"
    export = [BIN / "bt-export", shipped_model, "--precision", "fp32", "--bundle", folder]
    subprocess.run(export, check=True, capture_output=True)
    return folder


@pytest.mark.slow
def test_an_answer_takes_a_tenth_of_the_time_and_half_of_the_memory_of_keras(
    bundle: Path, shipped_model: Path
) -> None:
    result = compare_startup(shipped_model, bundle, ROOT / "examples" / "scan.png", runs=3)
    assert result.wall_ratio <= 0.1
    assert result.memory_ratio <= 0.5


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(bundle: Path, tmp_path: Path) -> None:
    result = measure_growth(bundle, tmp_path, small=200, large=2000)
    assert result.growth_mb <= 60
