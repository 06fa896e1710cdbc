"""A structure is the same for other weights, another one for any other graph, and says in which layer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from braintumor.export.from_keras import write_network
from braintumor.export.graph.io_wrapper import IoWrapper, wrap_io
from braintumor.export.graph.structure import Structure, structure_of
from braintumor.export.stages import ModelStages

Make = Callable[..., onnx.ModelProto]

NODES = ("first", "second", "third")


def graph(make_graph: Make, order: tuple[str, ...] = NODES, **changes: Any) -> onnx.ModelProto:
    """Three operations side by side, so that they can stand in any order, and their sum."""
    inputs = {"first": ["x", "a"], "second": ["x", "b"], "third": ["x", "c"]}
    kinds = {"first": "Mul", "second": "Add", "third": "Sub"} | changes.get("kinds", {})
    nodes = [helper.make_node(kinds[name], inputs[name], [name], name=name) for name in order]
    nodes.append(helper.make_node("Sum", list(NODES), ["y"], name="sum"))
    constants = {name: np.ones((3, 1, 1), np.float32) for name in "abc"} | changes.get("constants", {})
    return make_graph(nodes, constants, outputs={"y": [3, 8, 8]})


@pytest.fixture
def structure(make_graph: Make) -> Structure:
    return structure_of(graph(make_graph))


def test_structure_of_ignores_the_values_of_weights(make_graph: Make, structure: Structure) -> None:
    other = structure_of(graph(make_graph, constants={"a": np.full((3, 1, 1), 7, np.float32)}))
    assert other == structure
    assert other.sha256 == structure.sha256
    assert structure.difference(other) is None


@pytest.mark.parametrize("changes", [{"kinds": {"second": "Sub"}}, {"constants": {"b": np.ones(1, np.float32)}}])
def test_difference_names_a_changed_layer(make_graph: Make, structure: Structure, changes: dict[str, Any]) -> None:
    other = structure_of(graph(make_graph, **changes))
    assert other.sha256 != structure.sha256
    assert structure.difference(other) == "the layer 'second' is not the same"


def test_structure_of_includes_the_types_of_weights(make_graph: Make, structure: Structure) -> None:
    model = graph(make_graph)
    next(tensor for tensor in model.graph.initializer if tensor.name == "c").data_type = onnx.TensorProto.FLOAT16
    assert structure.difference(structure_of(model)) == "the layer 'third' is not the same"


def test_difference_names_layers_that_changed_places(make_graph: Make, structure: Structure) -> None:
    other = structure_of(graph(make_graph, ("first", "third", "second")))
    assert other.nodes.items() == structure.nodes.items()
    assert other.sha256 != structure.sha256
    assert structure.difference(other) == "the layer 'third' stands where 'second' stood"


def test_difference_names_missing_and_new_layers(structure: Structure) -> None:
    less = Structure({name: digest for name, digest in structure.nodes.items() if name != "third"})
    assert structure.difference(less) == "the layer 'third' is not there any more"
    assert less.difference(structure) == "the layer 'third' is new"


def test_structure_of_includes_all_nodes_that_share_a_name(make_graph: Make) -> None:
    models = graph(make_graph), graph(make_graph, kinds={"second": "Sub"})
    for model in models:
        for node in model.graph.node:
            node.name = "shared"
    first, second = map(structure_of, models)
    assert first.difference(second) == "the layer 'shared' is not the same"


def test_model_stages_have_the_structure_of_the_exported_graph(
    small_keras: Callable[..., Path], stages_of: Callable[..., ModelStages]
) -> None:
    stages = stages_of(small_keras())
    wrapper = IoWrapper(32, 32, 1, "tf", True, (1, 0, 2, 3))
    assert stages.structure == structure_of(wrap_io(write_network(stages.archive).model, wrapper))
