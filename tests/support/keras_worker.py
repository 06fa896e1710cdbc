"""The worker that answers by Keras, in this process, where Keras is loaded: another takes seconds each time."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from braintumor.export.via_keras import answer, convert, process, worker


@contextlib.contextmanager
def keras_in_this_process() -> Iterator[None]:
    """In this block Keras and tf2onnx answer here; `tests/export/via_keras/test_process.py` tests the real worker."""

    def run_worker(folder: Path, job: str, request: Any, **_: str) -> dict[str, Any]:
        worker.main(job, folder, dataclasses.asdict(request))
        result: dict[str, Any] = json.loads((folder / worker.RESULT).read_text())
        process.raise_refusal(result)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answer, "run_worker", run_worker)
        patch.setattr(convert, "run_worker", run_worker)
        yield
