"""Answers of an ONNX model during an export, by ONNX Runtime's CPU provider."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.export.graph.io_wrapper import IMAGE, PROBABILITIES
from braintumor.optional import require

__all__ = ["ENGINE", "answers", "batches", "run", "session"]

_ort: Any = require("onnxruntime", extra="cpu", purpose="verifying an exported model")

ENGINE: Final = f"onnxruntime-cpu {_ort.__version__}"
"""The engine of all verifications, with its version."""

_ERRORS_ONLY = 3
_BATCH = 16


def session(model: bytes | Path, *, for_memory: bool = False) -> Any:
    """A session that computes Q/DQ as it is written.

    ONNX Runtime's fused int8 kernels saturate on CPUs without VNNI: figures would depend on the machine.

    Args:
        model: The ONNX model.
        for_memory: For a few images and many outputs: weights are not copied into other layouts, and a result is used
            up before the next one is computed. In the usual order what leads to outputs alone comes last, and all
            results stay in memory until then.
    """
    options = _ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    # A thread that spins while it waits takes the core on which the next member is written.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if for_memory:
        options.graph_optimization_level = _ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.execution_order = _ort.ExecutionOrder.PRIORITY_BASED
    source = model if isinstance(model, bytes) else str(model)
    return _ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def answers(model: bytes | Path, images: NDArray[np.uint8], size: int = _BATCH) -> NDArray[np.float32]:
    """Answers of a model, float32 [n, classes], to images uint8 [n, H, W]."""
    return run(session(model), images, size)


def run(running: Any, images: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """Answers of a session, float32 [n, classes], to images uint8 [n, H, W], in batches of a size."""
    return np.concatenate([running.run([PROBABILITIES], {IMAGE: batch})[0] for batch in batches(images, size)])


def batches(images: NDArray[np.uint8], size: int) -> Iterator[NDArray[np.uint8]]:
    """The images, in batches of at most that size."""
    return (images[start : start + size] for start in range(0, len(images), size))
