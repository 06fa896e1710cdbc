"""Each pass on graphs made for it: where it fires, where it must not, and always the same numbers."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from braintumor.bench.data.phantoms import phantoms
from braintumor.export.graph.simplify import fold_factors, fuse_batch_norm, fuse_global_pooling, simplified
from braintumor.export.via_keras import worker

Make = Callable[..., onnx.ModelProto]
Run = Callable[..., list[Any]]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 3, 8, 8)).astype(np.float32)
SCALE = RNG.uniform(0.5, 2, (3, 1, 1)).astype(np.float32)
OFFSET = RNG.normal(size=(3, 1, 1)).astype(np.float32)
HW = np.array([1, 2], np.int64)
MAP = np.array([-1, 3, 1, 1], np.int64)


def kinds(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def check_same(before: onnx.ModelProto, change: Callable[[onnx.ModelProto], Any], run: Run) -> onnx.ModelProto:
    """Apply a pass to a copy; the result is valid and gives what the graph gave before."""
    after = onnx.ModelProto.FromString(before.SerializeToString())
    after = change(after) or after
    onnx.checker.check_model(after, full_check=True)
    for old, new in zip(run(before, X), run(after, X), strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-5)
    return after


def last_pooling(
    *, perm: Sequence[int] = (0, 2, 3, 1), axes: Any = HW, keepdims: int = 0, target: Any = MAP
) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    nodes = [
        helper.make_node("Transpose", ["x"], ["last"], perm=perm),
        helper.make_node("ReduceMean", ["last", "axes"], ["mean"], keepdims=keepdims),
        helper.make_node("Reshape", ["mean", "shape"], ["y"]),
    ]
    return nodes, {"axes": axes, "shape": target}


def test_fuse_global_pooling_makes_one_node_of_transpose_mean_and_reshape(make_graph: Make, run_graph: Run):
    nodes, constants = last_pooling()
    after = check_same(make_graph(nodes, constants, outputs={"y": [3, 1, 1]}), fuse_global_pooling, run_graph)
    assert kinds(after) == {"GlobalAveragePool": 1}


@pytest.mark.parametrize("target", [[0, 3, 1, 1], [-1, 3, 1, 1]])
def test_fuse_global_pooling_understands_both_spellings_of_a_free_batch(
    make_graph: Make, run_graph: Run, target: list[int]
):
    nodes, constants = last_pooling(target=np.array(target, np.int64))
    after = check_same(make_graph(nodes, constants, outputs={"y": [3, 1, 1]}), fuse_global_pooling, run_graph)
    assert kinds(after) == {"GlobalAveragePool": 1}


def test_fuse_global_pooling_makes_pool_and_flatten_before_a_head(make_graph: Make, run_graph: Run):
    nodes, constants = last_pooling()
    model = make_graph(nodes[:2], {"axes": constants["axes"]}, outputs={"mean": [3]})
    assert kinds(check_same(model, fuse_global_pooling, run_graph)) == {"GlobalAveragePool": 1, "Flatten": 1}


def test_fuse_global_pooling_keeps_the_order_of_kept_axes(make_graph: Make, run_graph: Run):
    nodes, constants = last_pooling(keepdims=1)
    model = make_graph(nodes, constants, outputs={"y": [3, 1, 1]})
    after = check_same(model, fuse_global_pooling, run_graph)
    assert kinds(after)["GlobalAveragePool"] == 1


def test_fuse_global_pooling_keeps_a_mean_with_several_readers(make_graph: Make, run_graph: Run):
    nodes, constants = last_pooling()
    nodes.append(helper.make_node("Neg", ["mean"], ["z"]))
    model = make_graph(nodes, constants, outputs={"y": [3, 1, 1], "z": [3]})
    check_same(model, fuse_global_pooling, run_graph)


def test_fuse_global_pooling_keeps_a_mean_that_is_an_output(make_graph: Make, run_graph: Run):
    nodes, constants = last_pooling()
    model = make_graph(nodes, constants, outputs={"y": [3, 1, 1], "mean": [3]})
    check_same(model, fuse_global_pooling, run_graph)


@pytest.mark.parametrize("extra", ["reader", "output"])
def test_fuse_global_pooling_leaves_a_transpose_that_others_read(make_graph: Make, run_graph: Run, extra: str):
    nodes, constants = last_pooling()
    outputs: dict[str, list[int]] = {"y": [3, 1, 1]}
    if extra == "reader":
        nodes.append(helper.make_node("Neg", ["last"], ["z"]))
        outputs["z"] = [8, 8, 3]
    else:
        outputs["last"] = [8, 8, 3]
    after = check_same(make_graph(nodes, constants, outputs=outputs), fuse_global_pooling, run_graph)
    assert kinds(after)["Transpose"] == 1


@pytest.mark.parametrize(
    ("perm", "axes"), [((0, 2, 3, 1), [2, 3]), ((0, 2, 3, 1), [1]), ((0, 3, 2, 1), [1, 2]), ((0, 2, 3, 1), [1, 3])]
)
def test_fuse_global_pooling_leaves_other_axes(
    make_graph: Make, run_graph: Run, perm: tuple[int, ...], axes: list[int]
):
    nodes, constants = last_pooling(perm=perm, axes=np.array(axes, np.int64))
    kept = np.transpose(X, perm).mean(axis=tuple(axes)).shape[1:]
    model = make_graph(nodes[:2], {"axes": constants["axes"]}, outputs={"mean": list(kept)})
    assert kinds(check_same(model, fuse_global_pooling, run_graph))["GlobalAveragePool"] == 0


def test_fuse_global_pooling_keeps_another_reshape(make_graph: Make, run_graph: Run):
    nodes, constants = last_pooling(target=np.array([-1, 1, 3, 1], np.int64))
    after = check_same(make_graph(nodes, constants, outputs={"y": [1, 3, 1]}), fuse_global_pooling, run_graph)
    assert kinds(after) == {"GlobalAveragePool": 1, "Flatten": 1, "Reshape": 1}


def scaled(factor: Any, *, bias: bool = True, first: bool = True) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    """A convolution from 3 to 3 channels and its product with a constant."""
    inputs = ["x", "w", "b"] if bias else ["x", "w"]
    constants = {
        "w": RNG.normal(size=(3, 3, 3, 3)).astype(np.float32),
        **({"b": OFFSET.reshape(3)} if bias else {}),
        "factor": np.asarray(factor, np.float32),
    }
    nodes = [
        helper.make_node("Conv", inputs, ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Mul", ["c", "factor"] if first else ["factor", "c"], ["y"], name="mul"),
    ]
    return nodes, constants


@pytest.mark.parametrize("factor", [0.17, [0.17], [[[[0.17]]]], SCALE, SCALE[np.newaxis]])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_fold_factors_scales_the_weights_of_a_convolution(
    make_graph: Make, run_graph: Run, factor: Any, bias: bool, first: bool
):
    nodes, constants = scaled(factor, bias=bias, first=first)
    after = check_same(make_graph(nodes, constants, outputs={"y": [3, 8, 8]}), fold_factors, run_graph)
    assert kinds(after) == {"Conv": 1}
    assert after.graph.node[0].name == "conv", "a quantisation plan names nodes"
    assert {tensor.name for tensor in after.graph.initializer} == set(after.graph.node[0].input) - {"x"}


@pytest.mark.parametrize("who", ["another node", "the caller"])
def test_fold_factors_leaves_a_convolution_that_others_read(make_graph: Make, run_graph: Run, who: str):
    nodes, constants = scaled(0.17)
    outputs = {"y": [3, 8, 8]}
    if who == "the caller":
        outputs["c"] = [3, 8, 8]
    else:
        nodes.append(helper.make_node("Neg", ["c"], ["z"]))
        outputs["z"] = [3, 8, 8]
    after = check_same(make_graph(nodes, constants, outputs=outputs), fold_factors, run_graph)
    assert kinds(after)["Mul"] == 1


def test_fold_factors_leaves_weights_that_two_convolutions_share(make_graph: Make, run_graph: Run):
    nodes, constants = scaled(0.17)
    nodes.append(helper.make_node("Conv", ["y", "w", "b"], ["z"], name="again", pads=[1, 1, 1, 1]))
    after = check_same(make_graph(nodes, constants, outputs={"z": [3, 8, 8]}), fold_factors, run_graph)
    assert kinds(after) == {"Conv": 2, "Mul": 1}


@pytest.mark.parametrize("factor", [np.full((8, 1), 2.0), np.full((8, 8), 2.0), np.full((2, 3, 8, 8), 2.0)])
def test_fold_factors_leaves_a_factor_that_is_not_one_per_channel(make_graph: Make, factor: Any):
    nodes, constants = scaled(factor)
    made = make_graph(nodes, constants, outputs={})
    fold_factors(made)
    assert kinds(made) == {"Conv": 1, "Mul": 1}


def affine(
    scale: Any = SCALE, offset: Any = OFFSET, *, scale_left: bool = False, offset_left: bool = False
) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    times = ["scale", "x"] if scale_left else ["x", "scale"]
    plus = ["offset", "m"] if offset_left else ["m", "offset"]
    nodes = [helper.make_node("Mul", times, ["m"]), helper.make_node("Add", plus, ["y"])]
    return nodes, {"scale": scale, "offset": offset}


@pytest.mark.parametrize("scale_left", [False, True])
@pytest.mark.parametrize("offset_left", [False, True])
@pytest.mark.parametrize("leading", [(), (1,)])
def test_fuse_batch_norm_makes_one_node_of_product_and_sum(
    make_graph: Make, run_graph: Run, scale_left: bool, offset_left: bool, leading: tuple[int, ...]
):
    nodes, constants = affine(
        SCALE.reshape(*leading, 3, 1, 1),
        OFFSET.reshape(*leading, 3, 1, 1),
        scale_left=scale_left,
        offset_left=offset_left,
    )
    model = make_graph(nodes, constants, outputs={"y": [3, 8, 8]})
    after = check_same(model, fuse_batch_norm, run_graph)
    assert kinds(after) == {"BatchNormalization": 1}
    assert {tensor.name for tensor in after.graph.initializer} == set(after.graph.node[0].input[1:])


@pytest.mark.parametrize(
    ("scale", "offset"),
    [
        (np.float32(2), OFFSET),
        (SCALE, np.float32(1)),
        (np.full((1, 1, 1), 2, np.float32), OFFSET),
        (SCALE.reshape(1, 3, 1), OFFSET),
        (RNG.normal(size=(3, 8, 8)).astype(np.float32), OFFSET),
        (SCALE, RNG.normal(size=(8,)).astype(np.float32)),
        (RNG.normal(size=(4, 3, 1, 1)).astype(np.float32), OFFSET),
    ],
    ids=["scalar", "scalar-offset", "one", "rows", "map", "columns", "by-image"],
)
def test_fuse_batch_norm_leaves_constants_that_are_not_one_per_channel(
    make_graph: Make, run_graph: Run, scale: Any, offset: Any
):
    if np.shape(scale) == (1, 3, 1):
        scale = np.resize(scale, (1, 8, 1)).astype(np.float32)
    nodes, constants = affine(scale, offset)
    after = check_same(make_graph(nodes, constants, outputs={"y": [3, 8, 8]}), fuse_batch_norm, run_graph)
    assert kinds(after) == {"Mul": 1, "Add": 1}


@pytest.mark.parametrize("extra", ["reader", "output"])
def test_fuse_batch_norm_leaves_a_product_that_others_read(make_graph: Make, run_graph: Run, extra: str):
    nodes, constants = affine()
    outputs = {"y": [3, 8, 8]}
    if extra == "reader":
        nodes.append(helper.make_node("Neg", ["m"], ["z"]))
        outputs["z"] = [3, 8, 8]
    else:
        outputs["m"] = [3, 8, 8]
    after = check_same(make_graph(nodes, constants, outputs=outputs), fuse_batch_norm, run_graph)
    assert kinds(after)["BatchNormalization"] == 0


def test_fuse_batch_norm_leaves_an_add_of_two_computed_tensors(make_graph: Make, run_graph: Run):
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["m"]),
        helper.make_node("Add", ["m", "x"], ["y"]),
    ]
    after = check_same(make_graph(nodes, {"scale": SCALE}, outputs={"y": [3, 8, 8]}), fuse_batch_norm, run_graph)
    assert kinds(after) == {"Mul": 1, "Add": 1}


def test_fuse_batch_norm_leaves_a_tensor_of_another_rank(make_graph: Make, run_graph: Run):
    # [n, 3, 8, 8] as rows: the constant then spreads over other axes.
    nodes, constants = affine()
    nodes[0].input[0] = "rows"
    nodes.insert(0, helper.make_node("Reshape", ["x", "shape"], ["rows"]))
    constants["shape"] = np.array([-1, 64], np.int64)
    model = make_graph(nodes, constants, outputs={"y": ["m", 64]})
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 3
    after = check_same(model, fuse_batch_norm, run_graph)
    assert kinds(after)["BatchNormalization"] == 0


def test_fuse_batch_norm_leaves_three_factors_of_one_grey_channel(make_graph: Make, run_graph: Run):
    nodes, constants = affine()
    nodes[0].input[0] = "grey"
    nodes.insert(0, helper.make_node("ReduceMax", ["x", "channel"], ["grey"]))
    constants["channel"] = np.array([1], np.int64)
    model = make_graph(nodes, constants, outputs={"y": [3, 8, 8]})
    after = check_same(model, fuse_batch_norm, run_graph)
    assert kinds(after)["BatchNormalization"] == 0


def test_fuse_batch_norm_keeps_a_constant_that_two_nodes_read(make_graph: Make, run_graph: Run):
    nodes, constants = affine()
    nodes.append(helper.make_node("Mul", ["y", "scale"], ["z"]))
    after = check_same(make_graph(nodes, constants, outputs={"z": [3, 8, 8]}), fuse_batch_norm, run_graph)
    assert kinds(after) == {"BatchNormalization": 1, "Mul": 1}


def backbone_of(path: Path, folder: Path) -> onnx.ModelProto:
    """The graph that tf2onnx writes of a model, in this process."""
    worker.main("convert", folder, {"model": str(path), "size": None})
    return onnx.load(folder / worker.BACKBONE)


def keras_answers(path: Path, images: Any) -> Any:
    """Answers of Keras to images [n, H, W, 1]."""
    import keras

    return np.asarray(keras.saving.load_model(path).predict(images, verbose=0))


def test_simplified_small_network_has_fewer_nodes_and_equal_answers(
    small_keras: Callable[..., Path], tmp_path: Path, run_graph: Run
):
    before = backbone_of(small_keras(), tmp_path)
    pixels = RNG.uniform(0, 255, (5, 1, 32, 32)).astype(np.float32)
    (expected,) = run_graph(before, pixels)
    nodes = len(before.graph.node)
    after = simplified(before)
    (outputs,) = run_graph(after, pixels)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    assert len(after.graph.node) < nodes
    assert kinds(after)["Transpose"] == 0


@pytest.mark.slow
def test_simplified_efficientnet_has_no_transpose_and_equal_answers(tmp_path: Path, run_graph: Run):
    import keras

    from braintumor.models.build import build_classifier
    from braintumor.models.catalog import model_spec

    keras.utils.set_random_seed(0)
    model = build_classifier(model_spec("EfficientNetV2S"), height=64, width=64, weights=None)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
        layer.gamma.assign(RNG.uniform(0.5, 1.5, layer.gamma.shape))
        layer.beta.assign(RNG.normal(0, 0.3, layer.beta.shape))
    # With momentum 0 this leaves statistics that fit, so that the answers are not all saturated.
    model(phantoms(16, 64, 64)[..., np.newaxis].astype(np.float32), training=True)
    path = tmp_path / "EfficientNetV2S.keras"
    model.save(path)
    before = backbone_of(path, tmp_path)
    images = phantoms(8, 64, 64)[:, np.newaxis].astype(np.float32)
    reference = keras_answers(path, np.moveaxis(images, 1, -1))
    nodes, transposes = len(before.graph.node), kinds(before)["Transpose"]
    assert transposes >= 30
    after = simplified(before)
    (outputs,) = run_graph(after, images)
    np.testing.assert_allclose(outputs, reference, atol=1e-5)
    assert np.ptp(outputs, axis=0).max() > 1e-4
    assert kinds(after)["Transpose"] == 0
    assert kinds(after)["BatchNormalization"] == 0
    assert len(after.graph.node) < nodes
