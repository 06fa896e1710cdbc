"""From an FP32 graph to a smaller precision."""

from typing import Final, Literal, get_args

import onnx

__all__ = ["PRECISIONS", "Precision", "at_precision"]

Precision = Literal["fp32", "fp16"]
PRECISIONS: Final[tuple[Precision, ...]] = get_args(Precision)


def at_precision(model: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """Bring an FP32 network to a precision; its input and output types stay. The given model is used up.

    FP16 keeps the softmax in FP32, which would lose small probabilities, and what ONNX Runtime's converter
    knows to be unsafe. The converter gives on these models what NVIDIA's AutoCast gives.
    """
    if precision == "fp32":
        return model
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    half = OnnxModel(
        convert_float_to_float16(model, keep_io_types=True, op_block_list=[*DEFAULT_OP_BLOCK_LIST, "Softmax"])
    )
    # The converter appends its Casts at the end.
    half.topological_sort()
    result: onnx.ModelProto = half.model
    return result
