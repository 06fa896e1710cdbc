"""Every wrapper around networks that are small enough to be computed by hand."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from braintumor.export.graph.io_wrapper import IoWrapper, wrap_io
from braintumor.models.spec import PREPROCESSES

HEIGHT, WIDTH = 5, 7
WEIGHT = np.random.default_rng(0).normal(size=(3 * HEIGHT * WIDTH, 4)).astype(np.float32) / 100
REVERSED = (3, 2, 1, 0)
IN_ORDER = (0, 1, 2, 3)
IMAGENET = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).reshape(2, 1, 3, 1, 1)

Make = Callable[..., onnx.ModelProto]
Run = Callable[..., list[Any]]


def backbone(
    make_graph: Make, channels: int, *, kind: int = TensorProto.FLOAT, output: str = "dense"
) -> onnx.ModelProto:
    weight = WEIGHT[: channels * HEIGHT * WIDTH].astype(helper.tensor_dtype_to_np_dtype(kind))
    nodes = [
        helper.make_node("Flatten", ["pixels"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], [output]),
    ]
    shape = (channels, HEIGHT, WIDTH)
    return make_graph(nodes, {"weight": weight}, shape=shape, outputs={output: [4]}, kind=kind, source="pixels")


def by_hand(images: Any, wrapper: IoWrapper) -> Any:
    pixels = np.repeat(images[:, None].astype(np.float64), wrapper.channels, axis=1)
    if wrapper.preprocess == "unit":
        pixels = pixels / 255
    elif wrapper.preprocess == "tf":
        pixels = pixels / 127.5 - 1
    elif wrapper.preprocess == "torch":
        pixels = (pixels / 255 - IMAGENET[0]) / IMAGENET[1]
    elif wrapper.preprocess == "caffe":
        pixels = pixels - np.array([103.939, 116.779, 123.68]).reshape(3, 1, 1)
    answers = pixels.reshape(len(images), -1) @ WEIGHT[: pixels[0].size]
    if wrapper.softmax:
        answers = np.exp(answers) / np.exp(answers).sum(axis=1, keepdims=True)
    return answers[:, list(wrapper.permutation)]


IMAGES = np.random.default_rng(1).integers(0, 256, (6, HEIGHT, WIDTH), dtype=np.uint8)
CASES = [
    case
    for case in itertools.product((1, 3), PREPROCESSES, (False, True), (IN_ORDER, REVERSED))
    if case[:2] not in {(1, "torch"), (1, "caffe")}
]


@pytest.mark.parametrize(("channels", "preprocess", "softmax", "permutation"), CASES)
def test_wrap_io_takes_grey_levels_and_gives_ordered_probabilities(
    make_graph: Make, run_graph: Run, channels: int, preprocess: str, softmax: bool, permutation: tuple[int, ...]
):
    wrapper = IoWrapper(HEIGHT, WIDTH, channels, preprocess, softmax, permutation)
    model = wrap_io(backbone(make_graph, channels), wrapper)
    (answers,) = run_graph(model, IMAGES)
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers, by_hand(IMAGES, wrapper), rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("preprocess", PREPROCESSES)
def test_wrap_io_scales_a_half_precision_network_in_float32(make_graph: Make, run_graph: Run, preprocess: str):
    wrapper = IoWrapper(HEIGHT, WIDTH, 3, preprocess, softmax=True, permutation=REVERSED)
    model = wrap_io(backbone(make_graph, 3, kind=TensorProto.FLOAT16), wrapper)
    (answers,) = run_graph(model, IMAGES)
    assert answers.dtype == np.float32
    # Half precision keeps 11 bits; the sums here reach 1e2.
    np.testing.assert_allclose(answers, by_hand(IMAGES, wrapper), atol=0.05)
    scaling = {node.op_type for node in model.graph.node if node.name.startswith("frame/in")}
    assert bool(scaling & {"Mul", "Add"}) == (preprocess != "none")


@pytest.mark.parametrize("output", ["probabilities", "image", "core/output", "batch"])
def test_wrap_io_accepts_any_name_of_the_output(make_graph: Make, run_graph: Run, output: str):
    wrapper = IoWrapper(HEIGHT, WIDTH, 1, "none", softmax=True, permutation=REVERSED)
    (answers,) = run_graph(wrap_io(backbone(make_graph, 1, output=output), wrapper), IMAGES)
    np.testing.assert_allclose(answers, by_hand(IMAGES, wrapper), rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("wrapper", [IoWrapper(HEIGHT, WIDTH, channels, "tf", True, IN_ORDER) for channels in (1, 3)])
def test_wrap_io_gives_the_interface_of_the_contract(make_graph: Make, wrapper: IoWrapper):
    model = wrap_io(backbone(make_graph, wrapper.channels), wrapper)
    (image,), (probabilities,) = model.graph.input, model.graph.output

    def shape(value: onnx.ValueInfoProto) -> list[int | str]:
        return [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]

    assert (image.name, image.type.tensor_type.elem_type) == ("image", TensorProto.UINT8)
    assert shape(image) == ["batch", HEIGHT, WIDTH]
    assert (probabilities.name, probabilities.type.tensor_type.elem_type) == ("probabilities", TensorProto.FLOAT)
    assert shape(probabilities) == ["batch", 4]
    assert model.opset_import[0].version == 18
    free = {size.dim_param for value in model.graph.value_info for size in value.type.tensor_type.shape.dim}
    assert free <= {"", "batch"}


def test_wrap_io_scales_torch_per_colour(make_graph: Make, run_graph: Run):
    plain, scaled = (
        run_graph(wrap_io(backbone(make_graph, 3), IoWrapper(HEIGHT, WIDTH, 3, preprocess, False, IN_ORDER)), IMAGES)[
            0
        ]
        for preprocess in ("tf", "torch")
    )
    assert np.abs(plain - scaled).max() > 0.1
