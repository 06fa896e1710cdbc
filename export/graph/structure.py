"""The structure of a network without its weights: a quantisation plan is made for one structure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import onnx
from onnx import TensorProto, helper

from braintumor.export.graph.io_wrapper import PREFIX

__all__ = ["Structure", "structure_of"]

_DIGITS: Final = 8


@dataclass(frozen=True, slots=True)
class Structure:
    """Nodes, attributes, connections, and the shapes and types of weights; not their values, and not the I/O wrapper.

    Attributes:
        nodes: Name → 8 hexadecimal digits of each node, in the order of the graph.
    """

    nodes: Mapping[str, str]

    @property
    def sha256(self) -> str:
        """SHA-256 of all of it, the order of the nodes included."""
        return hashlib.sha256(json.dumps(list(self.nodes.items())).encode()).hexdigest()

    def difference(self, other: "Structure") -> str | None:
        """The first layer in which another structure differs, in words; None where they are equal.

        Such as "the layer 'conv1' is not the same": each names a layer.
        """
        for name, digest in self.nodes.items():
            if name not in other.nodes:
                return f"the layer {name!r} is not there any more"
            if other.nodes[name] != digest:
                return f"the layer {name!r} is not the same"
        for name in other.nodes:
            if name not in self.nodes:
                return f"the layer {name!r} is new"
        for own_name, other_name in zip(self.nodes, other.nodes, strict=True):
            if own_name != other_name:
                return f"the layer {other_name!r} stands where {own_name!r} stood"
        return None


def structure_of(model: onnx.ModelProto) -> Structure:
    """The structure of an FP32 model whose nodes have names, with or without its I/O wrapper."""
    constants = {tensor.name: [list(tensor.dims), _type_name(tensor)] for tensor in model.graph.initializer}
    nodes: dict[str, str] = {}
    for node in model.graph.node:
        if node.name.startswith(PREFIX):
            continue
        inputs = [[name, constants.get(name)] for name in node.input]
        attributes = {item.name: _plain(helper.get_attribute_value(item)) for item in node.attribute}
        described = [node.op_type, inputs, list(node.output), attributes]
        # ONNX lets nodes share a name: their digests go into one.
        known = nodes.get(node.name, "")
        text = json.dumps([known, node.name, *described], sort_keys=True)
        nodes[node.name] = hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
    return Structure(nodes)


def _type_name(tensor: onnx.TensorProto) -> str:
    return str(TensorProto.DataType.Name(tensor.data_type))


def _plain(value: Any) -> Any:
    """An attribute's value for JSON."""
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, onnx.TensorProto):
        return hashlib.sha256(value.SerializeToString(deterministic=True)).hexdigest()
    return list(value) if isinstance(value, list | tuple) or hasattr(value, "extend") else value
