"""What a graph costs to compute."""

import math
from pathlib import Path

import onnx

__all__ = ["multiply_adds"]

_WEIGHTED = frozenset({"Conv", "Gemm", "MatMul"})


def multiply_adds(path: Path) -> int:
    """Multiply-adds (one multiplication with its addition) of a member's Conv, Gemm and MatMul, for one image."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(str(path))).graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        # The batch has no number.
        shapes[value.name] = [size.dim_value or 1 for size in value.type.tensor_type.shape.dim]
    return sum(
        math.prod(shapes[node.input[1]]) * (math.prod(shapes[node.output[0]][2:]) if node.op_type == "Conv" else 1)
        for node in graph.node
        if node.op_type in _WEIGHTED
    )
