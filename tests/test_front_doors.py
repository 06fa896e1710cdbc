"""Every room has its public names, and imports nothing before one is used."""

import importlib
import subprocess
import sys

import pytest

ROOMS = (
    "runtime",
    "runtime.archive",
    "runtime.bundle",
    "runtime.image",
    "runtime.engines",
    "runtime.engines.tensorrt",
    "runtime.doctor",
    "system",
    "models",
    "export",
    "bench",
    "bench.accuracy",
    "bench.compare",
    "bench.data",
    "bench.latency",
    "bench.latency.runners",
    "bench.metrics",
    "bench.perf",
    "bench.report",
    "training",
    "training.data",
    "training.fit",
    "training.report",
    "export.from_keras",
    "export.graph",
    "export.int8",
    "export.tensorrt",
    "export.verify",
    "export.via_keras",
)


@pytest.mark.parametrize("room", ROOMS)
def test_room_has_all_names_that_it_lists(room: str) -> None:
    package = importlib.import_module(f"braintumor.{room}")
    assert package.__all__
    assert all(getattr(package, name) is not None for name in package.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        package.nothing  # noqa: B018 - it is what raises


def test_importing_a_room_loads_no_numpy() -> None:
    code = f"import sys; {'; '.join(f'import braintumor.{room}' for room in ROOMS)}; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
