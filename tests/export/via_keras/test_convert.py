"""The worker as a process of its own, and the cache around it."""

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braintumor.errors import ModelError, UnavailableError
from braintumor.export.from_keras.archive import open_archive
from braintumor.export.via_keras import convert as conversion
from braintumor.export.via_keras.convert import convert
from braintumor.export.via_keras.worker import Request

Keras = Callable[..., Path]


def request(path: Path, **options: Any) -> Request:
    basis = Request(str(path), preprocess="auto", size=None, resize="antialias", images=(), count=64)
    return dataclasses.replace(basis, **options)


@pytest.fixture
def own_empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("BRAINTUMOR_CACHE", str(folder))
    return folder


@pytest.fixture
def no_process(small_keras: Keras, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on a process is a failure; the plain request of the small model is in the cache."""
    convert(open_archive(small_keras()), request(small_keras()))

    def refuse(*command: Any, **_: Any) -> None:
        raise AssertionError(f"a process was started: {command}")

    monkeypatch.setattr(subprocess, "run", refuse)


def test_a_conversion_gives_the_network_the_images_and_keras_answers(small_keras: Keras):
    path = small_keras()
    given = convert(open_archive(path), request(path))
    assert given.core.is_file()
    assert (given.images.shape, given.images.dtype) == ((64, 32, 32), np.uint8)
    assert (given.reference.shape, given.reference.dtype) == ((64, 4), np.float32)
    assert len(np.unique(given.reference.argmax(axis=1))) > 1


def test_a_second_conversion_starts_no_process(small_keras: Keras, monkeypatch: pytest.MonkeyPatch):
    path = small_keras()
    first = convert(open_archive(path), request(path))
    monkeypatch.setattr(subprocess, "run", None)
    second = convert(open_archive(path), request(path))
    assert first.key == second.key
    np.testing.assert_array_equal(first.reference, second.reference)


@pytest.mark.parametrize(
    "change",
    [
        {"preprocess": "torch"},
        {"size": (32, 32)},
        {"resize": "tf-bilinear"},
        {"count": 65},
        {"images": True},
    ],
    ids=lambda change: next(iter(change)),
)
@pytest.mark.usefixtures("no_process")
def test_another_request_is_another_entry(small_keras: Keras, tmp_path: Path, change: dict[str, Any]):
    path = small_keras()
    if "images" in change:
        (tmp_path / "image.png").write_bytes(b"1")
        change = {"images": (str(tmp_path / "image.png"),)}
    with pytest.raises(AssertionError, match="a process was started"):
        convert(open_archive(path), request(path, **change))


@pytest.mark.usefixtures("no_process")
def test_another_file_or_other_tools_are_another_entry(small_keras: Keras, monkeypatch: pytest.MonkeyPatch):
    path = small_keras()
    with pytest.raises(AssertionError, match="a process was started"):
        convert(dataclasses.replace(open_archive(path), sha256="0" * 64), request(path))
    real = conversion.version
    monkeypatch.setattr(conversion, "version", lambda name: real(name) + ("+local" if name == "tf2onnx" else ""))
    with pytest.raises(AssertionError, match="a process was started"):
        convert(open_archive(path), request(path))


def test_a_copy_under_another_name_is_the_same_entry(
    small_keras: Keras, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = small_keras()
    first = convert(open_archive(path), request(path))
    copy = tmp_path / "other.keras"
    copy.write_bytes(path.read_bytes())
    monkeypatch.setattr(subprocess, "run", None)
    assert convert(open_archive(copy), request(copy)).key == first.key


def test_a_missing_tool_is_named_with_the_command_that_installs_it(
    small_keras: Keras, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(conversion, "_TOOLS", ("no-such-package",))
    with pytest.raises(UnavailableError, match=r"no-such-package.*pip install 'braintumor\[export,cpu\]'"):
        convert(open_archive(small_keras()), request(small_keras()))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_worker_is_an_error_in_words_and_leaves_no_entry(
    small_keras: Keras, own_empty_cache: Path, monkeypatch: pytest.MonkeyPatch
):
    real = subprocess.run

    def started_and_killed(command: list[str], **options: Any) -> Any:
        # The real command, in a shell that kills itself as the kernel does when memory runs out.
        killed = [sys.executable, "-c", f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})", *command[1:]]
        return real(killed, **options)

    monkeypatch.setattr(subprocess, "run", started_and_killed)
    with pytest.raises(ModelError, match=r"exit status -9"):
        convert(open_archive(small_keras()), request(small_keras()))
    assert not [path for path in own_empty_cache.rglob("*") if path.is_file()]


def test_a_refused_model_is_refused_with_the_workers_words_and_leaves_no_entry(
    small_keras: Keras, own_empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # The working directory holds files that are called as the worker's libraries are.
    for name in ("keras", "numpy", "onnx", "tensorflow", "tf2onnx"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="no classifier of 4 classes"):
        convert(open_archive(small_keras(classes=3)), request(small_keras(classes=3)))
    assert not [path for path in own_empty_cache.rglob("*") if path.is_file()]


def test_the_parent_never_imports_tensorflow(small_keras: Keras, tmp_path: Path):
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
