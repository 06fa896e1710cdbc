"""Operators of tf2onnx that ONNX does not have, or that no bundle may hold."""

from typing import Final

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper

from braintumor.runtime.bundle.operators import OPERATORS

__all__ = ["replace_erfc", "unsupported_operator"]

_ONE: Final = "erfc/one"


def replace_erfc(model: onnx.ModelProto) -> None:
    """Write erfc(x), TensorFlow's way to GELU, as 1 - erf(x); in place.

    Ensures: the same values under the same name, to float32 rounding.
    """
    nodes = [part for node in model.graph.node for part in (_one_less_erf(node) if _is_erfc(node) else [node])]
    if len(nodes) != len(model.graph.node):
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        model.graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), _ONE))
        # tf2onnx notes no types behind operators that it does not know.
        del model.graph.value_info[:]


def unsupported_operator(model: onnx.ModelProto) -> onnx.NodeProto | None:
    """The first node that no bundle may hold: control flow, random values, or an operator that ONNX does not have.

    The list is `braintumor.runtime.bundle.operators`, by which bundles are refused when they are loaded.
    """
    opset = next(item.version for item in model.opset_import if item.domain in {"", "ai.onnx"})
    for node in model.graph.node:
        if (
            node.domain not in {"", "ai.onnx"}
            or node.op_type not in OPERATORS
            or not defs.has(node.op_type, opset, "")
        ):
            return node
    return None


def _is_erfc(node: onnx.NodeProto) -> bool:
    return str(node.op_type) == "Erfc"


def _one_less_erf(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    (result,) = node.output
    erf = helper.make_node("Erf", list(node.input), [f"{result}/erf"], name=f"{node.name}/erf")
    return [erf, helper.make_node("Sub", [_ONE, f"{result}/erf"], [result], name=node.name)]
