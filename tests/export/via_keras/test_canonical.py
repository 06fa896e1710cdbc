"""The one form of a network that tf2onnx writes."""

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from braintumor.export.via_keras.canonical import canonical

MakeGraph = Callable[..., onnx.ModelProto]


@pytest.fixture
def network(make_graph: MakeGraph) -> onnx.ModelProto:
    """Two convolutions of the same weights by two names, a node that nothing reads, and two outputs."""
    kernel = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="first", pads=[1, 1, 1, 1], strides=[1, 1]),
        helper.make_node("Conv", ["x", "same_w"], ["b"], name="second", strides=[1, 1], pads=[1, 1, 1, 1]),
        helper.make_node("Abs", ["a"], ["unread"], name="unread"),
        helper.make_node("Add", ["a", "b"], ["sum"], name="adding"),
        helper.make_node("Mul", ["sum", "half"], ["y"], name="scaling"),
        helper.make_node("Relu", ["sum"], ["z"], name="relu"),
    ]
    constants = {"w": kernel, "same_w": kernel, "half": np.array(0.5, np.float32)}
    return make_graph(nodes, constants, outputs={"y": (4, 8, 8), "z": (4, 8, 8)})


def scrambled(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """The same network with other names, its constants in another order."""
    rng = random.Random(seed)  # noqa: S311 - a repeatable order
    kept = {item.name for item in (*model.graph.input, *model.graph.output)}
    shuffled = onnx.ModelProto()
    shuffled.CopyFrom(model)
    for node in shuffled.graph.node:
        node.name = f"{rng.random()}"
        node.input[:] = [name if name in kept else f"{name}__{seed}" for name in node.input]
        node.output[:] = [name if name in kept else f"{name}__{seed}" for name in node.output]
    for tensor in shuffled.graph.initializer:
        tensor.name = f"{tensor.name}__{seed}"
    constants = list(shuffled.graph.initializer)
    rng.shuffle(constants)
    del shuffled.graph.initializer[:]
    shuffled.graph.initializer.extend(constants)
    return shuffled


def test_canonical_ignores_names_and_order(network: onnx.ModelProto):
    forms = {canonical(scrambled(network, seed)).SerializeToString() for seed in range(5)}
    assert forms == {canonical(network).SerializeToString()}


def test_canonical_computes_the_same_with_fewer_nodes(network: onnx.ModelProto, run_graph: Callable[..., list[Any]]):
    image = np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype(np.float32)
    before = run_graph(network, image)
    form = canonical(network)
    onnx.checker.check_model(form, full_check=True)
    assert [node.name for node in form.graph.node] == ["conv_1", "add_1", "mul_1", "relu_1"]
    assert [tensor.name for tensor in form.graph.initializer] == ["conv_1/1", "mul_1/1"]
    for expected, other in zip(before, run_graph(form, image), strict=True):
        np.testing.assert_array_equal(expected, other)


def test_canonical_differs_for_another_value_or_operator(network: onnx.ModelProto):
    value, operator = scrambled(network, 0), scrambled(network, 0)
    (half,) = [tensor for tensor in value.graph.initializer if tensor.name.startswith("half")]
    half.CopyFrom(numpy_helper.from_array(np.array(0.25, np.float32), half.name))
    operator.graph.node[5].op_type = "Sigmoid"
    assert len({canonical(model).SerializeToString() for model in (network, value, operator)}) == 3


CONVERT = """
import hashlib, sys
from pathlib import Path
from braintumor.export.from_keras.archive import open_archive
from braintumor.export.network import read_network
network = read_network(open_archive(Path(sys.argv[1])), None)
assert network.route.name == "keras"
print(hashlib.sha256(network.model.SerializeToString()).hexdigest())
"""


@pytest.mark.slow
def test_read_network_gives_the_same_bytes_in_any_process(tmp_path: Path):
    import keras

    layers: Any = keras.layers
    image = keras.Input((32, 32, 3))
    x = layers.Activation("gelu")(layers.Conv2D(8, 8, 8)(layers.Rescaling(1 / 255)(image)))
    x = layers.TimeDistributed(layers.Dense(8))(layers.Reshape((4, 32))(x))
    x = layers.Activation("gelu")(
        layers.GlobalAveragePooling1D()(layers.GRU(8, unroll=True, return_sequences=True)(x))
    )
    keras.Model(image, layers.Dense(4, activation="softmax")(x)).save(tmp_path / "model.keras")
    digests = set()
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "BRAINTUMOR_CACHE": str(tmp_path / seed)}
        command = [sys.executable, "-c", CONVERT, str(tmp_path / "model.keras")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=400)
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout)
    assert len(digests) == 1
