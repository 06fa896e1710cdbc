"""Optional packages report to nobody, and TensorFlow's log lines stay away from standard error; nothing else does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# ONNX Runtime's reporting begins with a file that names the session.
SESSION = ".ses"
TELEMETRY_VARIABLE = "ORT_DISABLE_TELEMETRY"

DROPPING = """
import os, re, sys, threading
from braintumor.optional import drop_stderr_lines
with drop_stderr_lines(re.compile(b"noise")):
    os.write(2, b"noise from here\\nline from here\\n")
    thread = threading.Thread(target=lambda: print("line of a thread", file=sys.stderr, flush=True))
    thread.start()
    thread.join()
    os.write(2, b"no line's end")
os.write(2, b"\\nnoise afterwards\\n")
"""
WITHOUT_STDERR = """
import os, re
os.close(2)
from braintumor.optional import drop_stderr_lines
with drop_stderr_lines(re.compile(b"x")):
    pass
"""
REQUIRING = "from braintumor.optional import require; require({!r}, extra='export', purpose='a test')"


def stderr_of(code: str, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"} | variables
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stderr


def reports(code: str, folder: Path) -> bool:
    """Whether ONNX Runtime begins a report in a process that runs this code."""
    environment = {name: value for name, value in os.environ.items() if name != TELEMETRY_VARIABLE}
    subprocess.run([sys.executable, "-c", code], env=environment | {"TMPDIR": str(folder)}, check=True)
    return (folder / SESSION).exists()


def test_require_lets_onnxruntime_begin_no_report(tmp_path: Path) -> None:
    assert not reports(REQUIRING.format("onnxruntime"), tmp_path)
    if not reports("import onnxruntime", tmp_path):
        pytest.skip("this build of ONNX Runtime reports nothing by itself")


@pytest.mark.parametrize("module", ["tensorflow", "keras"])
def test_require_imports_tensorflow_without_log_lines(module: str) -> None:
    assert stderr_of(REQUIRING.format(module), KERAS_BACKEND="tensorflow") == ""


def test_require_leaves_the_log_of_a_user_who_wants_it() -> None:
    assert ".cc:" in stderr_of(REQUIRING.format("tensorflow"), TF_CPP_MIN_LOG_LEVEL="0")


def test_drop_stderr_lines_drops_matching_lines_only() -> None:
    lines = ["line from here", "line of a thread", "no line's end", "noise afterwards"]
    assert stderr_of(DROPPING).splitlines() == lines


def test_drop_stderr_lines_works_without_a_standard_error() -> None:
    assert stderr_of(WITHOUT_STDERR) == ""
