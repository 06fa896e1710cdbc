"""Members whose answers are not probabilities never vote."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from braintumor.errors import IntegrityError
from braintumor.runtime.ensemble import Ensemble


def scaled(model: onnx.ModelProto) -> onnx.ModelProto:
    """What it gives are not probabilities but ten times as much."""
    model.graph.initializer.append(onnx.helper.make_tensor("ten times", onnx.TensorProto.FLOAT, [], [10.0]))
    model.graph.node[-1].output[0] = "softmax"
    model.graph.node.append(onnx.helper.make_node("Mul", ["softmax", "ten times"], ["probabilities"]))
    return model


def first_row(model: onnx.ModelProto) -> onnx.ModelProto:
    """One row, whatever the batch."""
    for name, value in (("from", 0), ("to", 1)):
        model.graph.initializer.append(onnx.helper.make_tensor(name, onnx.TensorProto.INT64, [1], [value]))
    model.graph.node[-1].output[0] = "softmax"
    model.graph.node.append(onnx.helper.make_node("Slice", ["softmax", "from", "to", "from"], ["probabilities"]))
    return model


@pytest.mark.parametrize("policy", ["full", "early-exit"])
@pytest.mark.parametrize("engine", ["onnxruntime-cpu", "openvino-cpu"])
@pytest.mark.parametrize(
    ("change", "words"),
    [(scaled, r"m1 gives \S+ as a probability"), (first_row, r"m1 gives \[\d, 4\] values for \d images")],
)
def test_predict_refuses_members_that_give_no_probabilities(
    handmade: Callable[..., Path],
    graph: Callable[..., onnx.ModelProto],
    scans: list[Path],
    change: Callable[[onnx.ModelProto], onnx.ModelProto],
    words: str,
    engine: str,
    policy: Any,
) -> None:
    bundle = handmade(graph(), change(graph()))
    # Measuring what the members cost asks them, too.
    with pytest.raises(IntegrityError, match=words), Ensemble.load(bundle, engine=engine, policy=policy) as loaded:
        list(loaded.predict_many(scans, batch_size=4))
