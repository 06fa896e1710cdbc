"""The hot paths' material, made without Keras: a bundle of two small networks, scans as files, and turns."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from braintumor.bench.metrics.ratio import Ratio, paired_ratio
from braintumor.bench.metrics.timing import timed_ms
from braintumor.runtime.ensemble import Ensemble
from tests.support.bundles import forge_bundle

SIDE_PX = 96
_WIDE = (32, 64, 128)
_PAIRS = 30
_PADDING_BYTES = 24 << 20


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two members, each as large as a shipped one (so that reading and hashing it is real work)."""
    models = {name: network(seed=index).SerializeToString() for index, name in enumerate(("a", "b"))}
    return forge_bundle(tmp_path_factory.mktemp("bundles") / "fast", models, side=SIDE_PX, weights=(1.0, 2.0))


def network(*, seed: int) -> onnx.ModelProto:
    """Three convolutions and a head on uint8 [batch, 96, 96], and weights that only take space."""
    rng = np.random.default_rng(seed)
    weights, nodes = [], [helper.make_node("Cast", ["image"], ["grey"], to=TensorProto.FLOAT)]

    def weight(name: str, *shape: int, scale: float) -> str:
        weights.append(numpy_helper.from_array(rng.normal(0, scale, shape).astype(np.float32), name))
        return name

    weights.append(numpy_helper.from_array(np.array([1]), "axis"))
    weights.append(numpy_helper.from_array(np.full(1, 1 / 255, np.float32), "scale"))
    nodes += [
        helper.make_node("Mul", ["grey", "scale"], ["scaled"]),
        helper.make_node("Unsqueeze", ["scaled", "axis"], ["x0"]),
    ]
    before = 1
    for depth, channels in enumerate(_WIDE):
        kernel = weight(f"w{depth}", channels, before, 3, 3, scale=(2 / (9 * before)) ** 0.5)
        convolved, after = f"c{depth}", f"x{depth + 1}"
        nodes.append(helper.make_node("Conv", [f"x{depth}", kernel], [convolved], strides=[2, 2], pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [convolved], [after]))
        before = channels
    nodes += [
        helper.make_node("GlobalAveragePool", [f"x{len(_WIDE)}"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", weight("head", before, 4, scale=1.0)], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    weight("space", _PADDING_BYTES // 4, scale=1.0)
    graph = helper.make_graph(
        nodes,
        "fast",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", SIDE_PX, SIDE_PX])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 4])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture(scope="session")
def ensemble(bundle: Path) -> Iterator[Ensemble]:
    with Ensemble.load(bundle, engine="onnxruntime-cpu") as loaded:
        yield loaded


@pytest.fixture(scope="session")
def scans(phantom_files: Callable[..., list[Path]]) -> list[Path]:
    """32 different phantoms as PNG files of 512 x 512 pixels."""
    return phantom_files(32, 512, 512, seed=3)


InTurns = Callable[[Callable[[], Any], Callable[[], Any]], Ratio]


@pytest.fixture(scope="session")
def in_turns() -> InTurns:
    """Times two calls side by side: the ratio of the second to the first, pair by pair.

    The order alternates, so that what one leaves behind for the other (caches, a clock that drops) cancels.
    """

    def measure(first: Callable[[], Any], second: Callable[[], Any]) -> Ratio:
        calls: Sequence[Callable[[], Any]] = (first, second)
        times: tuple[list[float], list[float]] = ([], [])
        for call in calls * 2:
            call()
        for pair in range(_PAIRS):
            for index in (0, 1) if pair % 2 else (1, 0):
                times[index].append(timed_ms(calls[index]))
        return paired_ratio(*times)

    return measure
