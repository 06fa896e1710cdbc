"""The worker as a process of its own, and the caches around it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from braintumor.bench.data.phantoms import phantoms
from braintumor.errors import ModelError, UnavailableError
from braintumor.export import network
from braintumor.export.from_keras.archive import open_archive
from braintumor.export.network import Route, read_network, tool_versions
from braintumor.export.via_keras import process
from braintumor.export.via_keras.answer import keras_answers
from braintumor.export.via_keras.convert import convert

Keras = Callable[..., Path]

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")


@pytest.fixture
def own_empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("BRAINTUMOR_CACHE", str(folder))
    return folder


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_keras_answers_asks_once_for_the_same_model_and_images(small_keras: Keras, monkeypatch: pytest.MonkeyPatch):
    archive, images = open_archive(small_keras()), phantoms(5, 32, 32)
    first, by = keras_answers(archive, 1, "none", images)
    assert (first.shape, first.dtype) == ((5, 4), np.float32)
    assert by.startswith("Keras 3.")
    monkeypatch.setattr(subprocess, "Popen", None)
    second, _ = keras_answers(archive, 1, "none", images)
    np.testing.assert_array_equal(first, second)
    with pytest.raises(TypeError):
        keras_answers(archive, 1, "none", phantoms(6, 32, 32))
    with pytest.raises(TypeError):
        keras_answers(archive, 1, "unit", images)


def test_convert_is_not_fooled_by_files_named_after_its_libraries(
    small_keras: Keras, own_empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("keras", "numpy", "onnx", "tensorflow", "tf2onnx"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    tools = tool_versions(Route("keras"))
    model, facts = convert(open_archive(small_keras()), None, tools)
    assert facts.classes == 4
    assert len(model.graph.node) > 10
    assert files_in(own_empty_cache)


def test_convert_passes_on_a_refusal_and_keeps_nothing(small_keras: Keras, own_empty_cache: Path):
    with pytest.raises(ModelError, match="32x32 pixels, not 64x64"):
        convert(open_archive(small_keras()), (64, 64), tool_versions(Route("keras")))
    assert not files_in(own_empty_cache)


@posix_only
def test_run_worker_says_that_the_worker_was_killed(
    small_keras: Keras, own_empty_cache: Path, monkeypatch: pytest.MonkeyPatch
):
    # An interpreter that ends as one does that the kernel kills when memory runs out.
    killer = own_empty_cache.parent / "python"
    killer.write_text("#!/bin/sh\nkill -9 $$\n")
    killer.chmod(0o755)
    monkeypatch.setattr(process.sys, "executable", str(killer))
    with pytest.raises(ModelError, match=r"exit status -9"):
        keras_answers(open_archive(small_keras()), 1, "none", phantoms(3, 32, 32))
    assert not files_in(own_empty_cache)


@posix_only
def test_worker_ends_with_a_parent_that_is_killed(small_keras: Keras, tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from braintumor.export.from_keras.archive import open_archive\n"
        "from braintumor.export.via_keras.convert import convert\n"
        "convert(open_archive(Path(sys.argv[1])), None, {})\n"
    )
    environment = os.environ | {"BRAINTUMOR_CACHE": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", code, str(small_keras())], env=environment) as parent:
        worker = wait_for_child(parent.pid)
        parent.kill()
    deadline = time.monotonic() + 30
    while is_running(worker):
        assert time.monotonic() < deadline, "the worker outlives its parent"
        time.sleep(0.1)


def wait_for_child(pid: int) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children:
            return int(children[0])
        time.sleep(0.05)
    raise AssertionError("no worker was started")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_tool_versions_names_what_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(network, "_DIRECT_TOOLS", ("no-such-package",))
    with pytest.raises(UnavailableError, match=r"no-such-package.*pip install 'braintumor\[cpu\]'"):
        tool_versions(Route("direct"))


def test_read_network_without_keras_names_the_layer_that_needs_it(
    small_keras: Keras, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object, **__: object) -> None:
        raise network.UnsupportedLayerError("memory", "GRU")

    monkeypatch.setattr(network, "write_network", refuse)
    monkeypatch.setattr(network, "_KERAS_TOOLS", ("no-such-keras",))
    with pytest.raises(UnavailableError, match=r"layer 'memory' \(GRU\).*braintumor\[export\]"):
        read_network(open_archive(small_keras()), None)


def test_bt_export_never_imports_tensorflow(small_keras: Keras, tmp_path: Path):
    code = (
        "import sys, braintumor.export.cli as cli\n"
        "sys.argv = ['bt-export', sys.argv[1], '--precision', 'fp16', '--bundle', sys.argv[2]]\n"
        "try: cli.main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    command = [sys.executable, "-c", code, str(small_keras()), str(tmp_path / "bundle")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ, timeout=300)
    assert done.returncode == 0, done.stderr
    imported = done.stdout.splitlines()[-1]
    assert "'onnxruntime'" in imported
    assert "'tensorflow'" not in imported
    assert "'keras'" not in imported
