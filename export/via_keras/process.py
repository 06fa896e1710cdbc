"""Starting the worker that imports Keras and TensorFlow, so that their memory and their crashes end with it."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from braintumor.errors import KerasLoadError, ModelError
from braintumor.export.network import tool_version
from braintumor.export.via_keras.worker import RESULT, AnswerRequest, ConvertRequest

__all__ = ["library_versions", "raise_refusal", "run_worker"]

_LIBRARIES: Final = ("keras", "tensorflow")
_LAST_LINES: Final = 3

# The CPU gives the reference: a GPU's TF32 would not.
_ENVIRONMENT: Final = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


def library_versions() -> dict[str, str | None]:
    """Versions of the worker's libraries; None where one is not installed."""
    return {name: tool_version(name) for name in _LIBRARIES}


def run_worker(folder: Path, job: str, request: AnswerRequest | ConvertRequest, **environment: str) -> dict[str, Any]:
    """Run a job in the worker, and wait for it.

    Args:
        folder: Of the files that the job reads and writes.
        job: "convert" or "answer".
        request: Of the job.
        environment: Further variables of the worker.

    Returns:
        The worker's `result.json`.

    Raises:
        KerasLoadError: Keras does not load the model.
        ModelError: The worker refuses the model, or ended before it was done.
    """
    # The worker reads what it needs from its standard input alone: no path goes through a shell. The input stays open
    # while we live; when it ends, the worker ends as well.
    # -P: a keras.py in the working directory must not be imported.
    command = [sys.executable, "-P", "-m", "braintumor.export.via_keras.worker", job, str(folder.resolve())]
    with subprocess.Popen(  # noqa: S603 - our own module in our own interpreter
        command,
        env=os.environ | _ENVIRONMENT | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as worker:
        try:
            output = _talk(worker, json.dumps(dataclasses.asdict(request)))
        except BaseException:
            worker.kill()
            raise
    result = _result(folder)
    raise_refusal(result)
    if worker.returncode != 0 or not result:
        last = " / ".join(output.strip().splitlines()[-_LAST_LINES:])
        raise ModelError(f"Keras ended with exit status {worker.returncode} on {request.model}: {last}")
    return result


def raise_refusal(result: Mapping[str, Any]) -> None:
    """Raise the worker's refusal of a model, if there is one.

    Raises:
        KerasLoadError: Keras does not load the model.
        ModelError: It is refused for another reason.
    """
    if "error" in result:
        raise (ModelError if result["loads"] else KerasLoadError)(result["error"], result["remedy"])


def _talk(worker: "subprocess.Popen[str]", request: str) -> str:
    """Send the request, and wait with standard input open; returns the worker's standard error."""
    assert worker.stdin is not None  # noqa: S101 - narrows the type: both are pipes
    assert worker.stderr is not None  # noqa: S101
    try:
        worker.stdin.write(request + "\n")
        worker.stdin.flush()
    except BrokenPipeError:
        # It ended before it read; the reason is on standard error. The rest is dropped, or closing would write it.
        with contextlib.suppress(BrokenPipeError):
            worker.stdin.close()
    output = worker.stderr.read()
    worker.wait()
    return output


def _result(folder: Path) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads((folder / RESULT).read_bytes())
    except (OSError, ValueError):
        return {}
    return result
