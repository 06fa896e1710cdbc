"""The structure of a network: what a quantisation plan is made for, whatever its weights are."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import onnx
from onnx import TensorProto, helper

from braintumor.cache import Cache, content_key
from braintumor.export.from_keras.archive import KerasArchive
from braintumor.export.graph.io_wrapper import PREFIX, free_names
from braintumor.export.network import NETWORK_RECIPE, installed_tools, read_network

__all__ = ["Structure", "network_structure", "structure_of"]

_DIGITS: Final = 8
_CACHE: Final = Cache("network-structure")
_FILE: Final = "structure.json"
# Moves when this module would give another structure for the same network.
_RECIPE: Final = 1


@dataclass(frozen=True, slots=True)
class Structure:
    """Nodes, attributes, connections, and the shapes and types of weights; not their values, and not the frame.

    Attributes:
        nodes: Name → 8 hexadecimal digits of each node, in the order of the graph.
    """

    nodes: Mapping[str, str]

    @property
    def sha256(self) -> str:
        """Of all of it, the order of the nodes included."""
        return hashlib.sha256(json.dumps(list(self.nodes.items())).encode()).hexdigest()

    def difference(self, other: "Structure") -> str | None:
        """The first thing in another structure that is not as it is here, in words; None where they are equal.

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
        for mine, its in zip(self.nodes, other.nodes, strict=True):
            if mine != its:
                return f"the layer {its!r} stands where {mine!r} stood"
        return None


def structure_of(model: onnx.ModelProto) -> Structure:
    """Describe the structure of a framed FP32 model whose nodes have names."""
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


def network_structure(archive: KerasArchive, size: tuple[int, int] | None) -> Structure:
    """The structure that the export of a `.keras` file has, whatever its frame; at once when it was asked before.

    Args:
        archive: The model.
        size: Height and width in pixels, for a model that takes any.

    Raises:
        As `read_network`.
    """

    def build(folder: Path) -> None:
        model = read_network(archive, size).model
        free_names(model.graph)
        (folder / _FILE).write_text(json.dumps(asdict(structure_of(model))), encoding="utf-8")

    recipe = [_RECIPE, NETWORK_RECIPE]
    key = content_key({"recipe": recipe, "model": archive.sha256, "size": size, "tools": installed_tools()})
    return Structure(**json.loads((_CACHE.build(key, build) / _FILE).read_bytes()))


def _type_name(tensor: onnx.TensorProto) -> str:
    return str(TensorProto.DataType.Name(tensor.data_type))


def _plain(value: Any) -> Any:
    """An attribute's value for JSON."""
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, onnx.TensorProto):
        return hashlib.sha256(value.SerializeToString(deterministic=True)).hexdigest()
    return list(value) if isinstance(value, list | tuple) or hasattr(value, "extend") else value
