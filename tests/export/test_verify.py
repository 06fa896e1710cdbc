"""Faults that an export could have, planted on purpose, and the honest export beside them."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from braintumor.errors import ParityError
from braintumor.export.graph.io_wrapper import IoWrapper, wrap_io
from braintumor.export.verify.compare import MIN_IMAGES, TOLERANCES, ReferenceAnswers, verify

IN_ORDER = (0, 1, 2, 3)
KERAS = "Keras 3.15.1, TensorFlow 2.21.0"
SIDE = 6
IMAGES = np.random.default_rng(0).integers(0, 256, (MIN_IMAGES, SIDE, SIDE), dtype=np.uint8)
WEIGHT = np.random.default_rng(1).normal(0, 0.5, (SIDE * SIDE, 4)).astype(np.float32)

Export = Callable[..., Path]
Make = Callable[..., onnx.ModelProto]


def flat_network() -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["y"]),
    ]
    return nodes, {"weight": WEIGHT.copy()}


@pytest.fixture
def export(make_graph: Make, tmp_path: Path) -> Export:
    def write(
        nodes: list[onnx.NodeProto],
        constants: Mapping[str, Any],
        *,
        preprocess: str = "tf",
        permutation: tuple[int, ...] = IN_ORDER,
    ) -> Path:
        backbone = make_graph(nodes, constants, shape=(1, SIDE, SIDE), outputs={"y": [4]})
        path = tmp_path / "model.onnx"
        onnx.save(wrap_io(backbone, IoWrapper(SIDE, SIDE, 1, preprocess, True, permutation)), path)
        return path

    return write


@pytest.fixture
def reference(export: Export) -> Any:
    session = ort.InferenceSession(export(*flat_network()).read_bytes(), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": IMAGES})[0]


def refusal(path: Path, reference: Any, precision: Any = "fp32") -> str:
    with pytest.raises(ParityError) as caught:
        verify(path, ReferenceAnswers(IMAGES, reference, "phantoms", KERAS), precision)
    return str(caught.value)


def test_verify_accepts_a_correct_export_at_every_batch_size(export: Export, reference: Any):
    figures = verify(export(*flat_network()), ReferenceAnswers(IMAGES, reference, "real", KERAS), "fp32").to_dict()
    counts = {int(size): at["images"] for size, at in figures["by_batch"].items()}
    assert counts == {1: 8, 7: 14, 32: MIN_IMAGES}
    assert (figures["images"], figures["tolerance"]) == ("real", TOLERANCES["fp32"])
    for at in figures["by_batch"].values():
        assert at["flips"] == 0
        assert at["max_abs_difference"] <= 1e-6
    assert json.loads(json.dumps(figures)) == figures


def test_verify_reports_the_figures_of_the_answers(export: Export, reference: Any):
    nudged = reference.copy()
    nudged[0, 1] += 3e-3
    figures = verify(export(*flat_network()), ReferenceAnswers(IMAGES, nudged, "phantoms", KERAS), "fp16")
    for at in figures.by_batch.values():
        assert at.max_abs_difference == pytest.approx(3e-3, rel=1e-3)
        assert at.mean_abs_difference == pytest.approx(3e-3 / (at.images * 4), rel=1e-2)
    assert "max |Δp| 0.003" in refusal(export(*flat_network()), nudged)


@pytest.mark.parametrize(
    ("precision", "allowed", "refused"),
    [("fp32", 8e-6, 1.2e-5), ("fp16", 4.8e-3, 5.2e-3), ("bf16", 2.9e-2, 3.1e-2), ("int8", 0.24, 0.26)],
)
def test_verify_refuses_what_is_beyond_the_tolerance(
    export: Export, reference: Any, precision: Any, allowed: float, refused: float
):
    def nudged(difference: float) -> Any:
        # The surest answer of all: no label changes.
        image, label = np.unravel_index(reference.argmax(), reference.shape)
        changed = reference.astype(np.float64)
        changed[image, label] += difference
        return changed.astype(np.float32)

    path = export(*flat_network())
    verify(path, ReferenceAnswers(IMAGES, nudged(allowed), "phantoms", KERAS), precision)
    assert "max |Δp|" in refusal(path, nudged(refused), precision)


def test_verify_refuses_swapped_classes(export: Export, reference: Any):
    message = refusal(export(*flat_network(), permutation=(1, 0, 2, 3)), reference)
    assert f"of {MIN_IMAGES} labels differ" in message


@pytest.mark.parametrize("preprocess", ["none"])
def test_verify_refuses_a_wrong_scaling(export: Export, reference: Any, preprocess: str):
    assert "does not answer what Keras 3.15.1, TensorFlow 2.21.0 answers" in refusal(
        export(*flat_network(), preprocess=preprocess), reference
    )


def test_verify_refuses_one_changed_weight(export: Export, reference: Any):
    nodes, constants = flat_network()
    constants["weight"][17, 2] += 0.001
    assert "0 of 64 labels differ" in refusal(export(nodes, constants), reference)


def test_verify_refuses_a_flipped_label_within_the_tolerance(export: Export, reference: Any):
    close = reference.copy()
    first, second = np.argsort(close[3])[::-1][:2]
    nodes, constants = flat_network()
    close[3, [first, second]] = close[3, [first, second]].mean() + np.array([-1e-3, 1e-3], np.float32)
    within = np.abs(close - reference).max() <= TOLERANCES["fp16"]
    message = refusal(export(nodes, constants), close, "fp16")
    assert within or "1 of 64 labels differ" in message


@pytest.mark.parametrize("at", [1, 7, 32])
def test_verify_refuses_a_graph_that_differs_at_one_batch_size(export: Export, reference: Any, at: int):
    nodes, constants = flat_network()
    nodes[-1].output[0] = "honest"
    nodes += [
        helper.make_node("Shape", ["x"], ["count"], start=0, end=1),
        helper.make_node("Equal", ["count", "size"], ["hit"]),
        helper.make_node("Add", ["honest", "fault"], ["faulty"]),
        helper.make_node("Where", ["hit", "faulty", "honest"], ["y"]),
    ]
    constants |= {"size": np.array([at], np.int64), "fault": np.array([0, 0, 0, 0.2], np.float32)}
    message = refusal(export(nodes, constants), reference)
    differences = dict(re.findall(r"batch (\d+): max \|Δp\| ([^,]+),", message))
    assert {int(size) for size, difference in differences.items() if float(difference) > 1e-3} == {at}
    assert float(re.findall(r"between batch sizes ([^)]+)\)", message)[0]) > 1e-3


def test_verify_refuses_answers_that_depend_on_the_batch(export: Export, reference: Any):
    nodes, constants = flat_network()
    nodes[-1].output[0] = "honest"
    nodes += [
        helper.make_node("ReduceMean", ["honest", "axis"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["honest", "mean"], ["y"]),
    ]
    constants["axis"] = np.array([0], np.int64)
    assert "between batch sizes" in refusal(export(nodes, constants), reference)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_verify_refuses_a_value_that_is_not_finite(export: Export, reference: Any, bad: float):
    nodes, constants = flat_network()
    constants["weight"][0, 0] = bad
    assert "nan" in refusal(export(nodes, constants), reference)


def test_verify_refuses_a_graph_of_batch_size_1(export: Export, reference: Any):
    nodes, constants = flat_network()
    nodes[0] = helper.make_node("Reshape", ["x", "one"], ["flat"])
    constants["one"] = np.array([1, SIDE * SIDE], np.int64)
    path = export(*flat_network())
    model = onnx.load(path)
    flatten = next(node for node in model.graph.node if node.op_type == "Flatten")
    flatten.CopyFrom(helper.make_node("Reshape", [flatten.input[0], "one"], ["flat"]))
    model.graph.initializer.append(numpy_helper.from_array(constants["one"], "one"))
    onnx.save(model, path)
    assert "does not run in onnxruntime" in refusal(path, reference)
