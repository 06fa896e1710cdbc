"""OpenVINO used plainly, with the settings of its benchmark_app.

A single image: the hint LATENCY and one request. More: the hint THROUGHPUT and as many requests as OpenVINO suggests,
each with a part of the images.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.latency.runners.base import RunnerInfo
from braintumor.bench.latency.runners.plain import PlainRunner
from braintumor.optional import require
from braintumor.runtime.bundle.load import load_bundle
from braintumor.runtime.engines.base import INPUT, EngineInfo
from braintumor.runtime.engines.signal_stack import signal_stack_kept

__all__ = ["OpenVinoRunner"]

_DEVICE: Final = "CPU"
_PRECISION: Final = "INFERENCE_PRECISION_HINT"
_FLOAT32: Final = "f32"


class OpenVinoRunner(PlainRunner):
    """The ONNX files of a bundle, run by OpenVINO on the CPU."""

    def __init__(
        self, bundle: str, *, threads: int | None, computes_in: str | None, public_key: str | None = None
    ) -> None:
        """Compile them for one image.

        Args:
            bundle: Its folder.
            threads: For inference; None leaves the default.
            computes_in: "f32" for benchmark_app's `-infer_precision f32`; None leaves the default, which is bfloat16
                where the CPU has it.
            public_key: As `load_bundle` takes it.
        """
        super().__init__(load_bundle(bundle, public_key=public_key))
        self._openvino = require("openvino", extra="peers", purpose="the baseline openvino")
        self._core: Any = self._openvino.Core()
        self._options: dict[str, Any] = {} if threads is None else {"INFERENCE_NUM_THREADS": threads}
        if computes_in is not None:
            self._options[_PRECISION] = computes_in
        self._single = [self._compiled(index, "LATENCY") for index in range(len(self.bundle.members))]
        # Compiled for the first batch: a run on single images does not pay for them.
        self._queues: dict[int, Any] = {}
        computed_in = str(self._single[0].get_property(_PRECISION).to_string())
        self._info = RunnerInfo(
            name="openvino" if computes_in is None else f"openvino-{computes_in}",
            kind="peer",
            sha256=self.bundle.sha256,
            precision=self.bundle.precision
            if computed_in == _FLOAT32
            else f"{self.bundle.precision} in {computed_in}",
            engine=EngineInfo(
                "openvino",
                f"OpenVINO {self._single[0].get_property('EXECUTION_DEVICES')[0]}, {computed_in}",
                "cpu",
                f"openvino {self._openvino.__version__}",
            ),
            members=tuple(member.name for member in self.bundle.members),
            note="hint LATENCY for one image, THROUGHPUT and its default number of requests for more",
        )

    @property
    def info(self) -> RunnerInfo:
        """Name, engine and members."""
        return self._info

    def infer(self, index: int, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run one compiled model."""
        if len(images) == 1:
            single: NDArray[np.float32] = self._single[index](images)[0].copy()
            return single
        if index not in self._queues:
            self._queues[index] = self._openvino.AsyncInferQueue(self._compiled(index, "THROUGHPUT"))
        queue = self._queues[index]
        parts = [part for part in np.array_split(images, len(queue)) if len(part)]
        outputs: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(parts)

        def store_output(request: Any, index: int) -> None:
            outputs[index] = request.get_output_tensor(0).data.copy()

        queue.set_callback(store_output)
        for part_index, part in enumerate(parts):
            queue.start_async({INPUT: part}, part_index)
        queue.wait_all()
        return np.concatenate(outputs)

    def _compiled(self, index: int, hint: str) -> Any:
        model = self._core.read_model(self.bundle.members[index].path)
        with signal_stack_kept():
            return self._core.compile_model(model, _DEVICE, {"PERFORMANCE_HINT": hint, **self._options})
