"""Lint of an ONNX graph: nodes that an engine builder would refuse, or build wrongly, before a build.

TensorRT refuses zero points other than 0 and int32 DequantizeLinear; it builds uint8 activations with only a
warning and clips them. So int8 only, everywhere.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from braintumor.errors import ModelError

__all__ = ["ALLOWED_OPS", "OPSETS", "Finding", "lint", "require_clean"]

OPSETS: Final = range(18, 22)
"""Opsets of the default domain that all engines read."""

ALLOWED_OPS: Final = frozenset(
    {
        *("Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Constant", "Conv", "Div"),
        *("DequantizeLinear", "Elu", "Erf", "Exp", "Flatten", "Gather", "Gemm", "Gelu"),
        *("GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish", "Identity", "LayerNormalization"),
        *("LeakyRelu", "MatMul", "MaxPool", "Max", "Min", "Mul", "Neg", "Pad", "Pow", "PRelu", "QuantizeLinear"),
        *("Reciprocal", "ReduceMax", "ReduceMean", "ReduceSum", "Relu", "Reshape", "Resize", "Selu", "Shape"),
        *("Sigmoid", "Slice", "Softmax", "Softplus", "Split", "Sqrt", "Squeeze", "Sub", "Swish", "Tanh"),
        *("Transpose", "Unsqueeze"),
    }
)
"""Operators of image classifiers that TensorRT, OpenVINO and ONNX Runtime all have."""

_AGAIN: Final = "export the bundle again with bt-export"
_DEFAULT_DOMAIN: Final = frozenset({"", "ai.onnx"})


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem of a graph.

    Attributes:
        node: Name of the node; "" for the model as a whole.
        problem: In words, with what is allowed.
    """

    node: str
    problem: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.node or 'the model'}: {self.problem}"


def lint(model: onnx.ModelProto) -> tuple[Finding, ...]:
    """All problems of a model, in the order of the graph."""
    types = _types(model)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    findings = [*_model_findings(model)]
    for node in model.graph.node:
        name = node.name or f"{node.op_type} giving {node.output[0]}"
        findings += [Finding(name, problem) for problem in _node_problems(node, types, constants)]
    return tuple(findings)


def require_clean(path: Path) -> None:
    """Refuse a file with findings.

    Raises:
        ModelError: It does not load, or has findings; the message names the first ones.
    """
    try:
        model = onnx.load(str(path))
    except Exception as error:
        # protobuf's own exception is not public in all its implementations.
        raise ModelError(f"{path} is not an ONNX model ({error})", _AGAIN) from error
    if findings := lint(model):
        shown = "; ".join(str(finding) for finding in findings[:3])
        more = f"; and {len(findings) - 3} more" if len(findings) > 3 else ""  # noqa: PLR2004 - as many as are shown
        raise ModelError(f"{path} cannot become an engine: {shown}{more}", _AGAIN)


def _model_findings(model: onnx.ModelProto) -> Iterator[Finding]:
    for opset in model.opset_import:
        # A domain that is declared and not used does no harm; the domain of each node is checked.
        if opset.domain in _DEFAULT_DOMAIN and opset.version not in OPSETS:
            yield Finding("", f"opset {opset.version}; must be {OPSETS.start} to {OPSETS.stop - 1}")
    for value in (*model.graph.input, *model.graph.output):
        sizes = value.type.tensor_type.shape.dim
        if not sizes or not sizes[0].dim_param:
            yield Finding("", f"{value.name} has no free batch size as its first axis")


def _node_problems(
    node: onnx.NodeProto, types: Mapping[str, int], constants: Mapping[str, onnx.TensorProto]
) -> Iterator[str]:
    if node.op_type not in ALLOWED_OPS or node.domain not in _DEFAULT_DOMAIN:
        yield f"operator {node.domain + '.' if node.domain else ''}{node.op_type} is not one that all engines have"
    if node.op_type not in {"QuantizeLinear", "DequantizeLinear"}:
        return
    steps = node.output[0] if node.op_type == "QuantizeLinear" else node.input[0]
    zero = node.input[2] if len(node.input) > 2 else ""  # noqa: PLR2004 - data, scale, zero point
    kind = types.get(zero) or types.get(steps, TensorProto.UINT8 if node.op_type == "QuantizeLinear" else 0)
    if kind != TensorProto.INT8:
        yield f"{node.op_type} of {_type_name(kind)}; must be int8"
    if zero in constants and np.any(numpy_helper.to_array(constants[zero])):
        yield f"{node.op_type} with a zero point that is not 0; quantise symmetrically"
    elif zero and zero not in constants:
        yield f"{node.op_type} with a zero point that is not a constant"
    if node.input[1] not in constants:
        yield f"{node.op_type} with a scale that is not a constant"
    elif not np.all(numpy_helper.to_array(constants[node.input[1]]) > 0):
        yield f"{node.op_type} with a scale that is not > 0"


def _types(model: onnx.ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.input, *graph.output, *graph.value_info)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


def _type_name(kind: int) -> str:
    return str(TensorProto.DataType.Name(kind)).lower() if kind else "an unknown type"
