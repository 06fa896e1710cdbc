"""From an FP32 graph to a smaller floating-point precision; int8 is in `qdq`."""

import itertools
from typing import Final, Literal, get_args

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from braintumor.export.graph.weightless import is_weight, put_back, weightless

__all__ = ["PRECISIONS", "Precision", "at_precision", "at_precision_around_qdq"]

Precision = Literal["fp32", "fp16", "bf16", "int8"]
PRECISIONS: Final[tuple[Precision, ...]] = get_args(Precision)

_WEIGHTED: Final = frozenset({"Conv", "Gemm", "MatMul"})
_QUANTISING: Final = frozenset({"QuantizeLinear", "DequantizeLinear"})


def at_precision(model: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """Bring an FP32 network to a floating-point precision; its input and output types stay.

    FP16 keeps in FP32: the softmax, which would lose small probabilities; the scaling of the input, which comes
    before the first convolution, costs nothing and halves DenseNet121's distance from Keras (max |Δp| 4.5e-3 to
    2.3e-3 on phantoms); and what ONNX Runtime's converter knows to be unsafe. The converter gives on these
    models what NVIDIA's AutoCast gives.

    BF16 stores the weights as bfloat16 with a Cast to float behind each: every engine reads that, and one that
    can compute in bfloat16 does so; the others compute in float32 with the rounded weights.

    The given model is used up.

    Raises:
        ValueError: int8, which needs a plan.
    """
    if precision == "fp32":
        return model
    if precision == "fp16":
        return _half(model, frozenset())
    if precision == "bf16":
        return _bfloat16_weights(model)
    raise ValueError(f"{precision} is not a floating-point precision")


def at_precision_around_qdq(model: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """Bring what int8 left in FP32 to a floating-point precision; the given model is used up.

    FP16 takes the scales of Q/DQ with it, which opset 19 or higher allows.

    Raises:
        ValueError: int8.
    """
    return _half(model, _QUANTISING) if precision == "fp16" else at_precision(model, precision)


def _half(model: onnx.ModelProto, unblocked: frozenset[str]) -> onnx.ModelProto:
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    scaling = [
        node.name for node in itertools.takewhile(lambda node: node.op_type not in _WEIGHTED, model.graph.node)
    ]
    # The converter copies every weight a dozen times: it gets the graph alone, and the weights are rounded here.
    weights = _weights_alone(model)
    converter = OnnxModel(
        convert_float_to_float16(
            onnx.shape_inference.infer_shapes(weightless(model, weights)),
            keep_io_types=[value.name for value in (*model.graph.input, *model.graph.output)],
            disable_shape_infer=True,
            op_block_list=[*(kind for kind in DEFAULT_OP_BLOCK_LIST if kind not in unblocked), "Softmax"],
            node_block_list=scaling,
        )
    )
    # The converter appends its Casts at the end.
    converter.topological_sort()
    half: onnx.ModelProto = converter.model
    put_back(half, model, weights, _half_tensor)
    return half


def _weights_alone(model: onnx.ModelProto) -> frozenset[str]:
    """Names of the FP32 weights that nothing reads but nodes which are brought to half precision."""
    other_inputs = {name for node in model.graph.node if node.op_type not in _WEIGHTED for name in node.input}
    return frozenset(
        tensor.name
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT and is_weight(tensor) and tensor.name not in other_inputs
    )


def _half_tensor(tensor: onnx.TensorProto) -> onnx.TensorProto:
    return numpy_helper.from_array(_rounded_to_half(numpy_helper.to_array(tensor)), tensor.name)


def _rounded_to_half(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """Rounded as ONNX Runtime's converter does it: what is finite stays finite, what is not 0 does not become 0."""
    with np.errstate(over="ignore", under="ignore"):
        rounded = values.astype(np.float16)
    limits = np.finfo(np.float16)
    # Counting is quick, and rarely finds any.
    if np.count_nonzero(rounded) != np.count_nonzero(values):
        lost = (rounded == 0) & (values != 0)
        rounded[lost] = np.copysign(limits.smallest_subnormal, values[lost]).astype(np.float16)
    if not np.isfinite(rounded).all():
        lost = np.isinf(rounded) & np.isfinite(values)
        rounded[lost] = np.copysign(limits.max, values[lost]).astype(np.float16)
    return rounded


def _bfloat16_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    graph = model.graph
    weights = [
        tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) > 1
    ]
    casts = []
    for tensor in weights:
        name = tensor.name
        rounded = numpy_helper.to_array(tensor).astype(ml_dtypes.bfloat16)
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(rounded), f"{name}/bf16"))
        casts.append(helper.make_node("Cast", [f"{name}/bf16"], [name], name=f"{name}/float", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model
