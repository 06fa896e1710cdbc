"""Int8 graphs in the form that OpenVINO computes rightly.

Activations: one FakeQuantize instead of Q/DQ.
OpenVINO 2026.4 reads QuantizeLinear → DequantizeLinear as FakeQuantize → Convert → Convert → Subtract → Multiply and
moves the parts one by one. Where a Concat feeds a convolution it loses the scale: the convolution reads round(x)
instead of round(x / scale). On a Concat of two convolutions in front of a third that is an error of a quarter of
the largest value; on InceptionResNetV2, which has 42 of them, max |dp| 0.073 from ONNX Runtime over 48 images,
against 0.008 in this form, and the Concat still runs in int8.

Weights, on CPUs without VNNI: seven bits instead of eight. There OpenVINO sums two products of an activation (0..255)
and a weight in 16 bits, which overflow with weights up to 127 (0.56 off behind a Concat, where a step is 0.008) and
hold weights up to 64: 2 * 255 * 64 = 32,640. The shipped models then differ from FP32 in 2, 4 and 1 labels of 703,
and their vote in 1. (LP_TRANSFORMS_MODE=NO, which computes such graphs in float32, is wrong with two streams:
OpenVINO 2026.4.1 then calls every slice healthy.)
"""

from typing import Any, Final

import numpy as np

__all__ = ["fuse_quantisation", "narrow_weights"]

_LOWEST: Final = -128
_HIGHEST: Final = 127
_LEVELS: Final = 256


def fuse_quantisation(openvino: Any, model: Any) -> int:
    """Make one FakeQuantize of every quantised activation; in place.

    Requires: symmetric int8, one scale a tensor, as `bt-export` writes it.
    Ensures: the same function. Anything else is left as it is.

    Args:
        openvino: The module.
        model: As `Core.read_model` gave it.

    Returns:
        How many were made.
    """
    made = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != "FakeQuantize":
            continue
        chain = _chain(node)
        scale = _scale(chain)
        if scale is None:
            continue
        source, last = node.input_value(0), chain[-1]
        kind = source.get_element_type().to_dtype()
        ends = [openvino.opset13.constant(np.array(step * scale, kind)) for step in (_LOWEST, _HIGHEST)]
        fused = openvino.opset13.fake_quantize(source, *ends, *ends, _LEVELS)
        fused.friendly_name = last.friendly_name
        for reader in last.output(0).get_target_inputs():
            reader.replace_source_output(fused.output(0))
        made += 1
    return made


def narrow_weights(openvino: Any, model: Any) -> int:
    """Halve the steps of int8 weights, so that none exceeds 64, and double their scales; in place.

    Args:
        openvino: The module.
        model: As `Core.read_model` gave it.

    Returns:
        How many weights were narrowed.
    """
    narrowed = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Constant" or node.get_element_type() != openvino.Type.i8:
            continue
        reader = _only_reader(node)
        if reader is None or reader.get_type_name() != "Convert" or (multiply := _scaled_by(reader)) is None:
            continue
        scale = multiply.input_value(1)
        two = openvino.opset13.constant(np.array(2, scale.get_element_type().to_dtype()))
        multiply.input(1).replace_source_output(openvino.opset13.multiply(scale, two).output(0))
        halved = openvino.opset13.constant(np.rint(node.data / 2).astype(np.int8))
        reader.input(0).replace_source_output(halved.output(0))
        narrowed += 1
    return narrowed


def _scaled_by(convert: Any) -> Any:
    """The Multiply that brings converted weights to scale; None where something else reads them."""
    node = _only_reader(convert)
    if node is not None and node.get_type_name() == "Subtract" and _reads(node, convert):
        convert, node = node, _only_reader(node)
    is_scale = node is not None and node.get_type_name() == "Multiply" and _reads(node, convert)
    return node if is_scale else None


def _reads(node: Any, source: Any) -> bool:
    """Whether a node's first input is a source: its second are zero points and scales."""
    return bool(node.input_value(0).get_node().friendly_name == source.friendly_name)


def _only_reader(node: Any) -> Any:
    """The only node that reads an output; None where there are several."""
    readers = list(node.output(0).get_target_inputs())
    return readers[0].get_node() if len(readers) == 1 else None


def _chain(node: Any) -> list[Any]:
    """FakeQuantize, Convert, Convert, Subtract if there is one, Multiply: as far as each has one reader."""
    chain = [node]
    while chain[-1].get_type_name() != "Multiply":
        readers = list(chain[-1].output(0).get_target_inputs())
        following = readers[0].get_node() if len(readers) == 1 else None
        if following is None or following.get_type_name() not in {"Convert", "Subtract", "Multiply"}:
            break
        chain.append(following)
    return chain


def _scale(chain: list[Any]) -> float | None:
    """The one scale of a symmetric int8 chain; None for any other."""
    kinds = [node.get_type_name() for node in chain]
    if kinds not in (
        ["FakeQuantize", "Convert", "Convert", "Subtract", "Multiply"],
        ["FakeQuantize", "Convert", "Convert", "Multiply"],
    ):
        return None
    ends = [_constant(chain[0].input_value(index)) for index in (3, 4)]
    zero = _constant(chain[3].input_value(1)) if kinds[3] == "Subtract" else np.zeros(1)
    scale = _constant(chain[-1].input_value(1))
    if zero is None or scale is None or scale.size != 1 or zero.any():
        return None
    if [None if end is None else float(end.ravel()[0]) for end in ends] != [_LOWEST, _HIGHEST]:
        return None
    return float(scale.ravel()[0])


def _constant(value: Any) -> Any:
    """The array behind a value, through conversions; None where it is computed."""
    node = value.get_node()
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return node.data if node.get_type_name() == "Constant" else None
