"""ONNX Runtime with its input and output left on the device, and a CUDA graph for each usual batch size.

`InferenceSession.run` allocates on the device and waits for it at every call. Bound, a batch is copied into one
device tensor that stays, and on a GPU the whole network is replayed as one captured graph: launching hundreds of
small kernels one by one takes longer than a batch of one needs to compute.

A captured graph belongs to one shape and keeps its memory, so only the first batch sizes get one; any other runs
plainly. ONNX Runtime tells graphs apart by the run option gpu_graph_id, and captures none for -1.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.runtime.engines.base import INPUT, OUTPUT

__all__ = ["MAX_BOUND", "BoundRuns"]

MAX_BOUND: Final = 4
"""Batch sizes that get tensors and a graph of their own: one image, a full batch, the rest of a folder, a spare."""

_GRAPH: Final = "gpu_graph_id"
_NO_GRAPH: Final = "-1"


@dataclass(frozen=True, slots=True)
class _Bound:
    """Tensors of one batch size, and what runs on them."""

    images: Any
    probabilities: Any
    binding: Any
    options: Any


class BoundRuns:
    """Runs a session, bound where it can be."""

    def __init__(self, ort: Any, session: Any, device: str, index: int) -> None:
        """Nothing is allocated before the first run.

        Args:
            ort: The module.
            session: Of a member.
            device: "cuda", or "cpu", where there is nothing to capture.
            index: Of the device.
        """
        self._ort = ort
        self._session = session
        self._device = (device, index)
        self._bound: dict[int, _Bound] = {}

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Classify uint8 [batch, height, width] as float32 [batch, classes]."""
        images = np.ascontiguousarray(images)
        bound = self._bound.get(len(images))
        if bound is None and len(self._bound) < MAX_BOUND:
            bound = self._bound[len(images)] = self._bind(images)
        if bound is None:
            (plain,) = self._session.run([OUTPUT], {INPUT: images}, self._options(_NO_GRAPH))
            return np.asarray(plain, np.float32)
        bound.images.update_inplace(images)
        self._session.run_with_iobinding(bound.binding, bound.options)
        # A copy: the next batch is written into the same tensor.
        return np.array(bound.probabilities.numpy(), np.float32)

    def _bind(self, images: NDArray[np.uint8]) -> _Bound:
        value = self._ort.OrtValue
        on_device = value.ortvalue_from_numpy(images, *self._device)
        shape = [len(images), *self._session.get_outputs()[0].shape[1:]]
        probabilities = value.ortvalue_from_shape_and_type(shape, np.float32, *self._device)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(INPUT, on_device)
        binding.bind_ortvalue_output(OUTPUT, probabilities)
        # Numbered from 1: 0 is what ONNX Runtime captures unasked.
        return _Bound(on_device, probabilities, binding, self._options(str(len(self._bound) + 1)))

    def _options(self, graph: str) -> Any:
        options = self._ort.RunOptions()
        options.add_run_config_entry(_GRAPH, graph)
        return options
