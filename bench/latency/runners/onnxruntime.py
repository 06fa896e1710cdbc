"""ONNX Runtime used plainly: a session with default options for each ONNX file, one after the other, averaged."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.latency.runners.base import RunnerInfo
from braintumor.bench.latency.runners.plain import PlainRunner
from braintumor.optional import require
from braintumor.runtime.bundle.load import load_bundle
from braintumor.runtime.engines.base import INPUT, EngineInfo

__all__ = ["OnnxRuntimeRunner"]


class OnnxRuntimeRunner(PlainRunner):
    """The ONNX files of a bundle, run by ONNX Runtime on the CPU."""

    def __init__(self, bundle: str, *, threads: int | None, public_key: str | None = None) -> None:
        """Load them.

        Args:
            bundle: Its folder.
            threads: Of each session; None leaves the default.
            public_key: As `load_bundle` takes it.
        """
        super().__init__(load_bundle(bundle, public_key=public_key))
        ort = require("onnxruntime", extra="peers", purpose="the baseline onnxruntime")
        options = ort.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        self._sessions: list[Any] = [
            ort.InferenceSession(str(member.path), options, providers=["CPUExecutionProvider"])
            for member in self.bundle.members
        ]
        provider = str(self._sessions[0].get_providers()[0])
        self._info = RunnerInfo(
            name="onnxruntime",
            kind="peer",
            sha256=self.bundle.sha256,
            precision=self.bundle.precision,
            engine=EngineInfo("onnxruntime", provider, "cpu", f"onnxruntime {ort.__version__}"),
            members=tuple(member.name for member in self.bundle.members),
            note="default session options",
        )

    @property
    def info(self) -> RunnerInfo:
        """Name, engine and members."""
        return self._info

    def infer(self, index: int, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run one session."""
        probabilities: NDArray[np.float32] = self._sessions[index].run(None, {INPUT: images})[0]
        return probabilities
