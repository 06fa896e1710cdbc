"""Groups of nodes that share a role, to measure which of them lose by int8.

By structure, not by name, so that a user's own architecture has the same groups:

    stem              the first convolution, which sees raw pixels
    squeeze-excite    convolutions over a 1 x 1 map: gates, where a small error scales whole channels
    depthwise         one input channel a group: few weights, wide ranges
    stage HxW         the other convolutions whose result has that size, in parts of at most `PART_NODES`
    head              everything behind the last map
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import onnx

from braintumor.export.graph.qdq import WeightedNode, weighted_nodes

__all__ = ["PART_NODES", "Group", "node_groups"]

PART_NODES: Final = 32

_MAP_RANK: Final = 4


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes that are quantised, or left in float, together.

    Attributes:
        name: Unique in the model.
        nodes: Names of weighted nodes.
    """

    name: str
    nodes: tuple[str, ...]


def node_groups(model: onnx.ModelProto) -> tuple[Group, ...]:
    """Every weighted node in exactly one group, in the order of the graph.

    Args:
        model: An exported graph, which carries the shapes of its tensors.
    """
    shapes = _shapes(model)
    outputs = {node.name: node.output[0] for node in model.graph.node}
    by_role: dict[str, list[str]] = {}
    for index, node in enumerate(weighted_nodes(model)):
        role = _role(index, node, shapes.get(node.activation, ()), shapes.get(outputs[node.name], ()))
        by_role.setdefault(role, []).append(node.name)
    return tuple(group for name, nodes in by_role.items() for group in _parts(name, nodes))


def _role(index: int, node: WeightedNode, input_shape: Sequence[int], output_shape: Sequence[int]) -> str:
    if index == 0:
        return "stem"
    if node.kind != "Conv" or len(output_shape) != _MAP_RANK:
        return "head"
    if tuple(input_shape[2:]) == (1, 1):
        return "squeeze-excite"
    if node.depthwise:
        return "depthwise"
    return f"stage {output_shape[2]}x{output_shape[3]}"


def _parts(name: str, nodes: Sequence[str]) -> tuple[Group, ...]:
    count = -(-len(nodes) // PART_NODES)
    if count == 1:
        return (Group(name, tuple(nodes)),)
    size = -(-len(nodes) // count)
    return tuple(
        Group(f"{name} part {part + 1}", tuple(nodes[part * size : (part + 1) * size])) for part in range(count)
    )


def _shapes(model: onnx.ModelProto) -> Mapping[str, tuple[int, ...]]:
    return {
        value.name: tuple(size.dim_value for size in value.type.tensor_type.shape.dim)
        for value in (*model.graph.input, *model.graph.value_info, *model.graph.output)
    }
