"""The time that an export of one model may take."""

import contextlib
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from braintumor.errors import ModelError
from braintumor.export.time_limit import run_within


def busy(ended: list[bool]) -> None:
    try:
        while True:
            # As a library may that takes any error for one of its own.
            with contextlib.suppress(Exception):
                time.sleep(0.001)
    finally:
        ended.append(True)


def test_run_within_ends_work_that_takes_too_long():
    ended: list[bool] = []
    with pytest.raises(ModelError, match="too slow"):
        run_within(0.2, ModelError("too slow"), lambda: busy(ended))
    assert ended


@pytest.mark.parametrize("seconds", [None, 30.0])
def test_run_within_leaves_work_within_its_time(seconds: float | None):
    assert run_within(seconds, ModelError("too slow"), lambda: sum(range(1000))) == 499500


def test_run_within_raises_nothing_after_work_that_ends_at_its_limit():
    for _ in range(500):
        with contextlib.suppress(ModelError):
            assert run_within(0.0001, ModelError("too slow"), lambda: sum(range(1000))) == 499500
        sum(range(300))


@pytest.mark.parametrize("seconds", [30.0, 0.00001])
def test_run_within_does_not_break_traced_code(seconds: float):
    program = f"""
import contextlib, sys
from braintumor.errors import ModelError
from braintumor.export.time_limit import run_within
sys.settrace(lambda *told: None)
for _ in range(50):
    with contextlib.suppress(ModelError):
        run_within({seconds}, ModelError("too slow"), lambda: sum(range(1000)))
print((lambda: "went on")())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "went on\n"


def test_run_within_passes_on_an_error():
    with pytest.raises(KeyError):
        run_within(30, ModelError("too slow"), lambda: {}["mine"])


def test_run_within_calls_end_for_a_library_that_does_not_return():
    # In a process of its own: Python 3.11 lets no traced thread go on while another has an exception to raise.
    program = """
import threading
from braintumor.errors import ModelError
from braintumor.export import time_limit

time_limit._GRACE_S = 0.1
ended = threading.Lock()
ended.acquire()

def end(message):
    print("end:", message)
    ended.release()

try:
    # Waiting for a lock is code that does not come back before it is released.
    time_limit.run_within(0.1, ModelError("too slow"), lambda: ended.acquire(timeout=60), end)
except ModelError as error:
    print("error:", error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout == "end: too slow\nerror: too slow\n"


def deep(template: Path, path: Path, count: int) -> Path:
    """A Sequential of so many layers, made of a saved one whose first layer is repeated."""
    with zipfile.ZipFile(template) as source, zipfile.ZipFile(path, "w") as target:
        config = json.loads(source.read("config.json"))
        input_layer, first, *rest = config["config"]["layers"]
        repeated = [{**first, "config": {**first["config"], "name": f"scale{index}"}} for index in range(count)]
        config["config"]["layers"] = [input_layer, *repeated, *rest]
        target.writestr("config.json", json.dumps(config))
        for name in ("metadata.json", "model.weights.h5"):
            target.writestr(name, source.read(name))
    return path


@pytest.fixture
def template(tmp_path: Path) -> Path:
    import keras

    layers: Any = keras.layers
    head = [layers.Rescaling(1.0, 0.001), layers.Flatten(), layers.Dense(4)]
    keras.Sequential([keras.Input((32, 32, 1)), *head]).save(tmp_path / "template.keras")
    return tmp_path / "template.keras"


def test_bt_export_gives_up_a_model_after_its_timeout(template: Path, tmp_path: Path):
    deep_model = deep(template, tmp_path / "deep.keras", 20_000)
    cache = tmp_path / "cache"
    code = "import sys; from braintumor.export.cli import main; sys.argv[0] = 'bt-export'; main()"
    command = [sys.executable, "-c", code, str(deep_model), "--precision", "fp32", "--timeout", "0.5"]
    environment = os.environ | {"BRAINTUMOR_CACHE": str(cache)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        f"Error: {deep_model} was not exported within 0.5 seconds; give it more time with --timeout"
    ]
    assert not (tmp_path / "bundles").exists()


def test_write_network_takes_twice_the_time_for_twice_the_layers(template: Path, tmp_path: Path):
    from braintumor.export.from_keras import open_archive, write_network

    def seconds(count: int) -> float:
        archive = open_archive(deep(template, tmp_path / f"deep{count}.keras", count))
        begun = time.process_time()
        converted = write_network(archive)
        assert len(converted.model.graph.node) > count
        return time.process_time() - begun

    seconds(100)  # imports
    assert seconds(16_000) < 12 * seconds(4_000)
