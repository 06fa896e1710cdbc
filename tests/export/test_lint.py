from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from braintumor.errors import ModelError
from braintumor.export.graph.lint import lint, require_clean

Make = Callable[..., onnx.ModelProto]
WEIGHT = np.ones((2, 2, 1, 1), np.float32)


def quantising(make_graph: Make, *, zero: object = np.int8(0), scale: float = 0.1) -> onnx.ModelProto:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="the-q"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], name="the-dq"),
        helper.make_node("Conv", ["d", "w"], ["y"], name="conv"),
    ]
    constants = {"s": np.float32(scale), "z": np.asarray(zero), "w": WEIGHT}
    return make_graph(nodes, constants, shape=(2, 4, 4), outputs={"y": (2, 4, 4)})


def test_lint_accepts_a_symmetric_int8_model(make_graph: Make):
    assert lint(quantising(make_graph)) == ()


@pytest.mark.parametrize(
    ("fault", "node", "problem"),
    [
        ({"zero": np.uint8(0)}, "the-q", "uint8; must be int8"),
        ({"zero": np.int8(3)}, "the-q", "zero point that is not 0"),
        ({"scale": 0.0}, "the-q", "not > 0"),
        ({"scale": -1.0}, "the-dq", "not > 0"),
    ],
)
def test_lint_names_the_node_of_a_planted_fault(make_graph: Make, fault: dict[str, object], node: str, problem: str):
    findings = lint(quantising(make_graph, **fault))
    assert any(finding.node == node and problem in finding.problem for finding in findings), findings


def test_lint_finds_an_int32_bias(make_graph: Make):
    nodes = [
        helper.make_node("DequantizeLinear", ["b", "s"], ["bias"], name="bias-dq"),
        helper.make_node("Conv", ["x", "w", "bias"], ["y"], name="conv"),
    ]
    constants = {"b": np.zeros(2, np.int32), "s": np.float32(1), "w": WEIGHT}
    (finding,) = lint(make_graph(nodes, constants, shape=(2, 4, 4), outputs={"y": (2, 4, 4)}))
    assert (finding.node, finding.problem) == ("bias-dq", "DequantizeLinear of int32; must be int8")


def test_lint_finds_an_operator_that_not_all_engines_have(make_graph: Make):
    node = helper.make_node("Hardmax", ["x"], ["y"], name="odd")
    (finding,) = lint(make_graph([node], {}, outputs={"y": (3, 8, 8)}))
    assert str(finding) == "odd: operator Hardmax is not one that all engines have"


def test_lint_finds_a_fixed_batch_and_an_unknown_opset(make_graph: Make):
    model = make_graph([helper.make_node("Relu", ["x"], ["y"], name="r")], {}, outputs={"y": (3, 8, 8)})
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    model.opset_import[0].version = 12
    assert [finding.problem for finding in lint(model)] == [
        "opset 12; must be 18 to 21",
        "x has no free batch size as its first axis",
    ]


def test_require_clean_refuses_a_file_and_names_the_first_findings(make_graph: Make, tmp_path: Path):
    path = tmp_path / "m.onnx"
    onnx.save(quantising(make_graph, zero=np.uint8(0)), path)
    with pytest.raises(ModelError, match=r"m\.onnx cannot become an engine: the-q: QuantizeLinear of uint8"):
        require_clean(path)
    onnx.save(quantising(make_graph), path)
    require_clean(path)
    path.write_bytes(b"\x00not onnx")
    with pytest.raises(ModelError, match="is not an ONNX model"):
        require_clean(path)
