from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper

from braintumor.bench.data.phantoms import phantoms
from braintumor.errors import ModelError
from braintumor.export.graph.groups import node_groups
from braintumor.export.graph.lint import lint
from braintumor.export.graph.precision import Precision, at_precision_around_qdq
from braintumor.export.graph.qdq import INT8_MAX, INT8_OPSET, _rounded, insert_qdq, weighted_nodes
from braintumor.export.graph.session import answers
from braintumor.export.int8.calibrate import METHODS, activation_thresholds
from braintumor.export.member import export_member
from braintumor.export.options import Target
from braintumor.export.stages import ModelStages

IMAGES = phantoms(48, 32, 32)


@pytest.fixture(scope="module")
def model(small_keras: Callable[..., Path], stages_of: Callable[..., ModelStages]) -> onnx.ModelProto:
    """An exported FP32 graph with every structure that the real ones have."""
    return onnx.load(str(export_member(stages_of(small_keras()), Target("fp32")).model))


@pytest.fixture(scope="module")
def thresholds(model: onnx.ModelProto) -> dict[str, float]:
    return dict(activation_thresholds(model, IMAGES)["minmax"])


def test_insert_qdq_quantises_input_and_weight_of_every_weighted_node(
    model: onnx.ModelProto, thresholds: dict[str, float]
):
    made = insert_qdq(model, thresholds)
    before, producers = weighted_nodes(model), {name: node for node in made.graph.node for name in node.output}
    assert len(before) >= 5
    for node in before:
        after = next(other for other in made.graph.node if other.name == node.name)
        assert [producers[name].op_type for name in after.input[:2]] == ["DequantizeLinear"] * 2
    assert lint(made) == ()
    assert made.opset_import[0].version == INT8_OPSET
    stored = {tensor.name: tensor for tensor in made.graph.initializer}
    assert all(stored[f"{node.weight}:int8"].data_type == TensorProto.INT8 for node in before)
    assert not {node.weight for node in before} & set(stored), "the float weights are gone"


def test_insert_qdq_answers_nearly_as_fp32(model: onnx.ModelProto, thresholds: dict[str, float]):
    reference = answers(model.SerializeToString(), IMAGES)
    quantised = answers(insert_qdq(model, thresholds).SerializeToString(), IMAGES)
    assert 0 < np.abs(quantised - reference).max() < 0.1
    clear = np.sort(reference, axis=1)[:, -1] - np.sort(reference, axis=1)[:, -2] > 0.2
    assert clear.sum() > 10
    assert (quantised.argmax(axis=1) == reference.argmax(axis=1))[clear].all()


def test_insert_qdq_with_all_nodes_in_float_changes_nothing(model: onnx.ModelProto, thresholds: dict[str, float]):
    everything = [node.name for node in weighted_nodes(model)]
    reference = answers(model.SerializeToString(), IMAGES)
    made = insert_qdq(model, thresholds, everything)
    assert not [node for node in made.graph.node if "Linear" in node.op_type]
    np.testing.assert_allclose(answers(made.SerializeToString(), IMAGES), reference, atol=1e-6)


def test_insert_qdq_gives_the_same_bytes_twice(model: onnx.ModelProto, thresholds: dict[str, float]):
    assert insert_qdq(model, thresholds).SerializeToString() == insert_qdq(model, thresholds).SerializeToString()


def test_insert_qdq_refuses_thresholds_of_another_model(model: onnx.ModelProto, thresholds: dict[str, float]):
    renamed = {f"other/{name}": value for name, value in thresholds.items()}
    with pytest.raises(ModelError, match="was made for another model"):
        insert_qdq(model, renamed)


def test_insert_qdq_refuses_a_node_of_another_model(model: onnx.ModelProto, thresholds: dict[str, float]):
    with pytest.raises(ModelError, match=r"no node 'elsewhere'.*made for another model"):
        insert_qdq(model, thresholds, ["elsewhere"])


@given(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=6, max_size=6),
    st.sampled_from([0, 1]),
)
@example([0.0, 0.0, 0.0, 0.0, 0.0, 2.0**-149], 0)
def test_insert_qdq_rounds_a_weight_by_half_a_step_at_most(values: list[float], axis: int):
    weight = np.array(values, np.float32).reshape(2, 3)
    steps, scales = _rounded(weight, axis)
    scale = np.expand_dims(scales, 1 - axis)
    assert np.abs(steps).max() <= INT8_MAX
    assert (np.abs(steps * scale - weight) <= scale * 0.5001 + 1e-30).all()


def test_activation_thresholds_clip_outliers_except_by_minmax(model: onnx.ModelProto):
    by_method = activation_thresholds(model, IMAGES)
    assert set(by_method) == set(METHODS)
    for name, largest in by_method["minmax"].items():
        assert 0 < by_method["percentile"][name] <= largest * 1.0001
        assert 0 < by_method["entropy"][name] <= largest * 1.0001
    assert any(by_method["percentile"][name] < largest * 0.999 for name, largest in by_method["minmax"].items())


def test_activation_thresholds_by_entropy_ignore_a_lone_outlier():
    histogram = np.zeros(2048, np.int64)
    histogram[:300] = (1000 * np.exp(-((np.arange(300) / 80) ** 2))).astype(np.int64)
    histogram[2047] = 1
    assert METHODS["minmax"](histogram) == 2048
    assert 128 <= METHODS["entropy"](histogram) < 600


def test_node_groups_hold_every_weighted_node_once(model: onnx.ModelProto):
    groups = node_groups(model)
    nodes = [name for group in groups for name in group.nodes]
    assert sorted(nodes) == sorted(node.name for node in weighted_nodes(model))
    names = [group.name for group in groups]
    assert names[0] == "stem"
    assert {"stem", "depthwise", "squeeze-excite", "head"} <= set(names)
    assert any(name.startswith("stage ") for name in names)


def test_node_groups_cut_a_long_stage_into_parts(make_graph: Callable[..., onnx.ModelProto]):
    weight = np.ones((2, 2, 1, 1), np.float32)
    nodes = [
        onnx.helper.make_node("Conv", [f"t{i}" if i else "x", "w"], [f"t{i + 1}"], name=f"conv{i}") for i in range(71)
    ]
    made = make_graph(nodes, {"w": weight}, shape=(2, 8, 8), outputs={"t71": (2, 8, 8)})
    groups = node_groups(onnx.shape_inference.infer_shapes(made))
    assert [group.name for group in groups] == ["stem", *(f"stage 8x8 part {part}" for part in (1, 2, 3))]
    assert [len(group.nodes) for group in groups] == [1, 24, 24, 22]


def test_insert_qdq_keeps_the_output_channels_of_a_transposed_gemm(make_graph: Callable[..., onnx.ModelProto]):
    weight = np.array([[1.0, 2.0, 3.0], [100.0, 200.0, 300.0]], np.float32)
    for kind, stored in (("Gemm", weight), ("MatMul", weight.T)):
        attributes = {"transB": 1} if kind == "Gemm" else {}
        node = onnx.helper.make_node(kind, ["x", "w"], ["y"], name="dense", **attributes)
        made = insert_qdq(make_graph([node], {"w": stored}, shape=(3,), outputs={"y": (2,)}), {"x": 1.0})
        scales = next(numpy_helper.to_array(t) for t in made.graph.initializer if t.name == "w:scale")
        np.testing.assert_allclose(scales, [3 / 127, 300 / 127], rtol=1e-6)


@pytest.mark.parametrize(("precision", "kind"), [("fp16", TensorProto.FLOAT16), ("bf16", TensorProto.BFLOAT16)])
def test_at_precision_around_qdq_stores_the_float_weights_at_the_precision_and_keeps_int8(
    model: onnx.ModelProto, thresholds: dict[str, float], precision: Precision, kind: int
):
    nodes = weighted_nodes(model)
    floating, quantised = nodes[0], nodes[-1]
    int8 = insert_qdq(model, thresholds, [floating.name])
    reference = answers(int8.SerializeToString(), IMAGES)
    made = at_precision_around_qdq(int8, precision)
    onnx.checker.check_model(made, full_check=True)
    kinds = {tensor.name.split("/bf16")[0]: tensor.data_type for tensor in made.graph.initializer}
    assert kinds[floating.weight] == kind
    assert kinds[f"{quantised.weight}:int8"] == TensorProto.INT8
    assert 0 < np.abs(answers(made.SerializeToString(), IMAGES) - reference).max() < 0.03
