from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from braintumor.errors import ParityError
from braintumor.export.graph.io_wrapper import IoWrapper, wrap_io
from braintumor.export.graph.precision import at_precision
from braintumor.export.verify.compare import ReferenceAnswers, verify
from braintumor.export.verify.half_range import HALF_MAX, largest_half_value

Make = Callable[..., onnx.ModelProto]
RNG = np.random.default_rng(0)


def network(make_graph: Make, *, gain: float = 1.0) -> onnx.ModelProto:
    """Two convolutions with a gain between them that cancels out, pooling, a dense softmax."""
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Mul", ["a", "gain"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "second"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("MatMul", ["f", "dense"], ["g"]),
        helper.make_node("Softmax", ["g"], ["p"], axis=1),
    ]
    constants = {
        "first": RNG.normal(0, 0.2, (64, 1, 3, 3)).astype(np.float32),
        "gain": np.full((64, 1, 1), gain, np.float32),
        "second": (RNG.normal(0, 0.1, (64, 64, 3, 3)) / gain).astype(np.float32),
        "dense": RNG.normal(0, 1.0, (64, 4)).astype(np.float32),
    }
    return make_graph(nodes, constants, shape=(1, 16, 16), outputs={"p": [4]})


def both(make_graph: Make, folder: Path, **options: Any) -> tuple[Path, Path]:
    backbone = network(make_graph, **options)
    folder.mkdir(exist_ok=True)
    paths = folder / "fp32.onnx", folder / "fp16.onnx"
    for precision, path in zip(("fp32", "fp16"), paths, strict=True):
        copy = onnx.ModelProto.FromString(backbone.SerializeToString())
        model = wrap_io(at_precision(copy, precision), IoWrapper(16, 16, 1, "tf", False, (0, 1, 2, 3)))
        onnx.save(model, path)
    return paths


def test_at_precision_fp16_keeps_interface_and_softmax_in_float32(make_graph: Make, tmp_path: Path):
    model = onnx.load(both(make_graph, tmp_path)[1])
    onnx.checker.check_model(model, full_check=True)
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    assert model.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    softmax = next(node for node in model.graph.node if node.op_type == "Softmax")
    assert kinds[softmax.input[0]] == TensorProto.FLOAT
    convolution = next(node for node in model.graph.node if node.op_type == "Conv")
    assert kinds[convolution.output[0]] == TensorProto.FLOAT16


def test_at_precision_fp16_stores_every_weight_in_two_bytes(make_graph: Make, tmp_path: Path):
    large, small = both(make_graph, tmp_path)
    floats = {
        tensor.data_type
        for tensor in onnx.load(small).graph.initializer
        if not tensor.name.startswith("frame/") and tensor.data_type != TensorProto.INT64
    }
    assert floats == {TensorProto.FLOAT16}
    assert small.stat().st_size < 0.55 * large.stat().st_size


def test_at_precision_fp16_gives_a_sorted_graph_of_opset_18(make_graph: Make, tmp_path: Path):
    model = onnx.load(both(make_graph, tmp_path)[1])
    known = {"image", *(tensor.name for tensor in model.graph.initializer)}
    for node in model.graph.node:
        assert set(node.input) <= known, node.name
        known.update(node.output)
    assert [(item.domain, item.version) for item in model.opset_import] == [("", 18)]


def test_at_precision_fp32_changes_nothing(make_graph: Make):
    backbone = network(make_graph)
    before = backbone.SerializeToString()
    assert at_precision(backbone, "fp32").SerializeToString() == before


def test_at_precision_fp16_casts_only_at_the_borders(make_graph: Make, tmp_path: Path):
    counts = Counter(node.op_type for node in onnx.load(both(make_graph, tmp_path)[1]).graph.node)
    assert counts["Cast"] <= 5


def reference(path: Path, images: Any) -> Any:
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": images})[0]


def test_verify_accepts_a_network_within_half_precision(make_graph: Make, tmp_path: Path):
    large, small = both(make_graph, tmp_path)
    images = RNG.integers(0, 256, (64, 16, 16), dtype=np.uint8)
    verification = verify(small, ReferenceAnswers(images, reference(large, images), "phantoms", None), "fp16")
    assert 0 < verification.by_batch[32].max_abs_difference <= 5e-3
    assert verification.largest_half_value is not None
    assert 0.5 < verification.largest_half_value < 100


def test_verify_measures_the_largest_value_in_half_precision(make_graph: Make, tmp_path: Path):
    _, small = both(make_graph, tmp_path, gain=300.0)
    _, plain = both(make_graph, tmp_path / "plain")
    images = RNG.integers(0, 256, (16, 16, 16), dtype=np.uint8)
    name, value = largest_half_value(small, images)
    assert name
    assert 100 < value < HALF_MAX
    assert value > 50 * largest_half_value(plain, images)[1]


def test_verify_refuses_a_network_that_overflows_in_half_precision(make_graph: Make, tmp_path: Path):
    large, small = both(make_graph, tmp_path, gain=60_000.0)
    images = RNG.integers(0, 256, (64, 16, 16), dtype=np.uint8)
    expected = reference(large, images)
    assert np.isfinite(expected).all()
    with pytest.raises(ParityError, match=r"overflows: .* reaches (inf|\d).*ends at 65504; .*fp32"):
        verify(small, ReferenceAnswers(images, expected, "phantoms", None), "fp16")


def test_verify_finds_one_image_that_overflows_where_others_come_near(make_graph: Make, tmp_path: Path):
    images = RNG.integers(100, 155, (64, 16, 16), dtype=np.uint8)
    images[1] = RNG.choice(np.array([0, 255], np.uint8), (16, 16))
    # The value behind the gain is the largest, and grows with it.
    _, tried = both(make_graph, tmp_path / "tried", gain=1000.0)
    usual = largest_half_value(tried, images[::4])[1]
    large, small = both(make_graph, tmp_path, gain=1000.0 * 30_000 / usual)
    assert largest_half_value(small, images[::4])[1] <= HALF_MAX
    with pytest.raises(ParityError, match="overflows"):
        verify(small, ReferenceAnswers(images, reference(large, images), "phantoms", None), "fp16")


def test_at_precision_fp16_equals_onnx_runtimes_converter(make_graph: Make):
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    backbone = network(make_graph)
    second = next(tensor for tensor in backbone.graph.initializer if tensor.name == "second")
    values = numpy_helper.to_array(second).copy()
    values.flat[:8] = [1e-9, -1e-9, 5.9e-8, -3e-8, 7e4, -7e4, 65519, 0]
    second.CopyFrom(numpy_helper.from_array(values, "second"))
    expected = OnnxModel(
        convert_float_to_float16(
            onnx.ModelProto.FromString(backbone.SerializeToString()),
            keep_io_types=True,
            op_block_list=[*DEFAULT_OP_BLOCK_LIST, "Softmax"],
            node_block_list=[],
        )
    )
    expected.topological_sort()
    assert at_precision(backbone, "fp16") == expected.model
