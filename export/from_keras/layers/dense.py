"""Dense layers."""

from typing import Final

from braintumor.export.from_keras.builder import Builder
from braintumor.export.from_keras.layers.activation import activate
from braintumor.export.from_keras.tensor import Call, Tensor

__all__ = ["LAYERS"]


def _dense(call: Call, graph: Builder) -> Tensor:
    """`Dense`, over the last axis of its input."""
    tensor = call.input
    units, layer = int(call.config["units"]), call.layer.layer
    call.only(lora_rank=None, quantization_config=None)
    shapes: dict[str, tuple[int, ...]] = {"kernel": (tensor.shape[-1], units)}
    if call.config.get("use_bias", True):
        shapes["bias"] = (units,)
    arrays = call.arrays(shapes)
    kernel, *bias = (graph.constant(f"{layer}/{name}", array) for name, array in zip(shapes, arrays, strict=True))
    value = graph.keras_order(tensor)
    if len(tensor.shape) == 1:
        value = graph.node("Gemm", [value, kernel, *bias], call.name)
    else:
        value = graph.node("MatMul", [value, kernel], f"{call.name}/matmul" if bias else call.name)
        value = graph.node("Add", [value, *bias], call.name) if bias else value
    return activate(Tensor(value, (*tensor.shape[:-1], units)), call, graph)


LAYERS: Final = {"Dense": _dense}
