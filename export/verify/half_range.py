"""Range of the values inside an FP16 network: whether they fit into FP16.

ONNX Runtime has no half-precision kernels for the CPU: it computes an FP16 graph in float32, where a value
beyond 65504 stays what it is. On a GPU it becomes infinite. So the largest value of every tensor is measured.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from braintumor.export.graph.io_wrapper import IMAGE
from braintumor.export.graph.session import session

__all__ = ["HALF_MAX", "largest_half_value"]

HALF_MAX: Final = float(np.finfo(np.float16).max)
"""65504, the largest number in half precision."""

_BATCH: Final = 8
_SUFFIX: Final = "/largest"


def largest_half_value(path: Path, images: NDArray[np.uint8]) -> tuple[str, float]:
    """The first tensor that half precision cannot hold, or the one that comes closest; and its magnitude.

    Args:
        path: An FP16 ONNX file whose tensors carry their types.
        images: uint8 [n, H, W].

    Returns:
        Its name and max |value|, NaN or above `HALF_MAX` when it does not fit; ("", 0) where nothing is half.
    """
    model = onnx.load(str(path))
    half = {value.name for value in model.graph.value_info if value.type.tensor_type.elem_type == TensorProto.FLOAT16}
    names = [name for node in model.graph.node for name in node.output if name in half]
    if not names:
        return "", 0.0
    _measure(model.graph, names)
    content = model.SerializeToString()
    del model
    measuring = session(content, for_memory=True)
    del content
    outputs = [name + _SUFFIX for name in names]
    parts: list[Any] = [
        measuring.run(outputs, {IMAGE: images[start : start + _BATCH]}) for start in range(0, len(images), _BATCH)
    ]
    largest = np.array(parts, np.float64).max(axis=0)
    # What comes behind an overflow is NaN: the first one is the cause.
    beyond = ~(largest <= HALF_MAX)
    worst = int(beyond.argmax() if beyond.any() else largest.argmax())
    return names[worst], float(largest[worst])


def _measure(graph: onnx.GraphProto, names: list[str]) -> None:
    """Let the graph give max |value| of each tensor as well: a scalar, so that memory stays small."""
    for name in names:
        graph.node.extend(
            [
                helper.make_node("Cast", [name], [f"{name}/float"], to=TensorProto.FLOAT),
                helper.make_node("Abs", [f"{name}/float"], [f"{name}/size"]),
                helper.make_node("ReduceMax", [f"{name}/size"], [name + _SUFFIX], keepdims=0),
            ]
        )
        graph.output.append(helper.make_tensor_value_info(name + _SUFFIX, TensorProto.FLOAT, []))
