"""What is imported for us reports to nobody."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# ONNX Runtime's reporting begins with a file that names the session.
SESSION = ".ses"
FORBIDS = "ORT_DISABLE_TELEMETRY"


def begun(code: str, folder: Path) -> bool:
    environment = {name: value for name, value in os.environ.items() if name != FORBIDS} | {"TMPDIR": str(folder)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    return (folder / SESSION).exists()


def test_onnxruntime_begins_no_report(tmp_path: Path) -> None:
    required = "from braintumor.optional import require; require('onnxruntime', extra='cpu', purpose='a test')"
    assert not begun(required, tmp_path)
    if not begun("import onnxruntime", tmp_path):
        pytest.skip("this build of ONNX Runtime reports nothing by itself")
