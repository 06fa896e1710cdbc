"""The structure of a network: what a quantisation plan is made for, whatever its weights are."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import onnx
from onnx import helper

from braintumor.export.frame import PREFIX

__all__ = ["Structure", "structure_of"]

_DIGITS: Final = 8


@dataclass(frozen=True, slots=True)
class Structure:
    """Nodes, attributes, connections and shapes of weights; not their values, and not the frame around the network.

    Attributes:
        sha256: Of all of it.
        nodes: Name → 8 hexadecimal digits of each node, in the order of the graph.
    """

    sha256: str
    nodes: Mapping[str, str]

    def first_difference(self, other: "Structure") -> str | None:
        """The first node of this structure that the other one lacks or has otherwise, or that only the other has."""
        for name, digest in self.nodes.items():
            if other.nodes.get(name) != digest:
                return name
        return next((name for name in other.nodes if name not in self.nodes), None)


def structure_of(model: onnx.ModelProto) -> Structure:
    """Describe the structure of a framed FP32 model whose nodes have names."""
    shapes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    nodes = {}
    whole = hashlib.sha256()
    for node in model.graph.node:
        if node.name.startswith(PREFIX):
            continue
        inputs = [[name, shapes.get(name)] for name in node.input]
        attributes = {item.name: _plain(helper.get_attribute_value(item)) for item in node.attribute}
        said = json.dumps([node.name, node.op_type, inputs, list(node.output), attributes], sort_keys=True).encode()
        whole.update(said)
        nodes[node.name] = hashlib.sha256(said).hexdigest()[:_DIGITS]
    return Structure(whole.hexdigest(), nodes)


def _plain(value: Any) -> Any:
    """An attribute's value for JSON."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return hashlib.sha256(value.SerializeToString(deterministic=True)).hexdigest()
    return list(value) if isinstance(value, list | tuple) or hasattr(value, "extend") else value
