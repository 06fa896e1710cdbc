"""Input and output of every exported graph, put around a converted network.

    image uint8 [batch, H, W] ─ cast ─ grey → channels ─ scale ─► the network ─ two of one? ─ softmax? ─ reorder? ─►
    probabilities float32 [batch, classes]

The scaling is that of `keras.applications.imagenet_utils.preprocess_input`, or x / 255 ("unit").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from braintumor.export.graph.weightless import complete
from braintumor.models.build import CAFFE_MEAN_BGR, IMAGENET_MEAN, IMAGENET_STD

__all__ = ["BATCH", "IMAGE", "PREFIX", "PROBABILITIES", "IoWrapper", "free_names", "wrap_io"]

IMAGE: Final = "image"
PROBABILITIES: Final = "probabilities"
BATCH: Final = "batch"

PREFIX: Final = "frame/"
"""Begins the names of the nodes that are added."""

_NETWORK_OUTPUT: Final = "core/output"


@dataclass(frozen=True, slots=True)
class IoWrapper:
    """Input and output of a network, as an exported graph has them.

    Attributes:
        height: Of the input, in pixels.
        width: Of the input, in pixels.
        channels: That the network takes, 1 or 3.
        preprocess: "none", "unit", "tf", or "torch" and "caffe", which need 3 channels.
        softmax: The network ends in logits.
        permutation: output[i] is the network's output[permutation[i]]; in order (0, 1, 2, 3) for none.
        one_unit: The network has one output, for the second of two classes.
    """

    height: int
    width: int
    channels: int
    preprocess: str
    softmax: bool
    permutation: tuple[int, ...]
    one_unit: bool = False


def wrap_io(network: onnx.ModelProto, wrapper: IoWrapper) -> onnx.ModelProto:
    """Put input and output around a network with one input [batch, channels, H, W] and one output [batch, classes].

    The given network is used up. The result carries the shape of every tensor, with `BATCH` as its one free size.

    Raises:
        onnx.checker.ValidationError: The result is not a valid ONNX model.
    """
    graph = network.graph
    (pixels,), (output,) = graph.input, graph.output
    pixels_type = pixels.type.tensor_type.elem_type
    output_type = output.type.tensor_type.elem_type
    free_names(graph)
    before = _Chain("in", IMAGE)
    _scale(before, wrapper, pixels_type)
    before.end(pixels.name)
    after = _Chain("out", _NETWORK_OUTPUT)
    if output_type != TensorProto.FLOAT:
        after.add("Cast", to=TensorProto.FLOAT)
    if wrapper.one_unit:
        _two_of_one(after, logits=wrapper.softmax)
    if wrapper.softmax:
        after.add("Softmax", axis=1)
    if wrapper.permutation != tuple(range(len(wrapper.permutation))):
        after.add("Gather", [after.constant("order", np.array(wrapper.permutation, np.int64))], axis=1)
    after.end(PROBABILITIES)

    for name, value in (*before.constants, *after.constants):
        graph.initializer.append(numpy_helper.from_array(value, name))
    nodes = [*before.nodes, *graph.node, *after.nodes]
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.input.append(
        helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, [BATCH, wrapper.height, wrapper.width])
    )
    graph.output.append(
        helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, [BATCH, len(wrapper.permutation)])
    )
    complete(network)
    return network


def _scale(chain: "_Chain", wrapper: IoWrapper, pixels_type: int) -> None:
    scaled = wrapper.preprocess != "none"
    chain.add("Cast", to=TensorProto.FLOAT if scaled else pixels_type)
    chain.add("Unsqueeze", [chain.constant("axes", np.array([1], np.int64))])
    if wrapper.channels > 1:
        chain.repeat("Concat", wrapper.channels, axis=1)
    if wrapper.preprocess == "unit":
        chain.add("Mul", [chain.constant("scale", np.array(1 / 255, np.float32))])
    elif wrapper.preprocess == "tf":
        chain.add("Mul", [chain.constant("scale", np.array(1 / 127.5, np.float32))])
        chain.add("Add", [chain.constant("offset", np.array(-1, np.float32))])
    elif wrapper.preprocess == "torch":
        deviation = np.array(IMAGENET_STD).reshape(1, 3, 1, 1)
        mean = np.array(IMAGENET_MEAN).reshape(1, 3, 1, 1)
        chain.add("Mul", [chain.constant("scale", (1 / (255 * deviation)).astype(np.float32))])
        chain.add("Add", [chain.constant("offset", (-mean / deviation).astype(np.float32))])
    elif wrapper.preprocess == "caffe":
        # The channels are equal, so that blue first is any order.
        mean = np.array(CAFFE_MEAN_BGR).reshape(1, 3, 1, 1)
        chain.add("Add", [chain.constant("offset", (-mean).astype(np.float32))])
    if scaled and pixels_type != TensorProto.FLOAT:
        chain.add("Cast", to=pixels_type)


def _two_of_one(chain: "_Chain", *, logits: bool) -> None:
    """[batch, 1] to [batch, 2]: (0, x) whose softmax has the sigmoid of x, or (1 - p, p)."""
    chain.add("Mul", [chain.constant("unit_scale", np.array([[0 if logits else -1, 1]], np.float32))])
    if not logits:
        chain.add("Add", [chain.constant("unit_offset", np.array([[1, 0]], np.float32))])


def free_names(graph: onnx.GraphProto) -> None:
    """Rename the network's output, and tensors with the names of input and output: a layer may have any name.

    The nodes have the names of the exported graph then; the graph's own outputs keep theirs.
    """
    renamed = {IMAGE: f"core/{IMAGE}", PROBABILITIES: f"core/{PROBABILITIES}", graph.output[0].name: _NETWORK_OUTPUT}
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [renamed.get(item, item) for item in names]
    for value in (*graph.initializer, *graph.input):
        value.name = renamed.get(value.name, value.name)


class _Chain:
    """Nodes of one input and one output, one behind the other."""

    def __init__(self, side: str, start: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[tuple[str, Any]] = []
        self._side, self._at = side, start

    def constant(self, name: str, value: Any) -> str:
        full = f"{PREFIX}{self._side}/{name}"
        self.constants.append((full, value))
        return full

    def add(self, kind: str, others: Sequence[str] = (), **attributes: Any) -> None:
        name = f"{PREFIX}{self._side}/{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [self._at, *others], [name], name=name, **attributes))
        self._at = name

    def repeat(self, kind: str, times: int, **attributes: Any) -> None:
        self.add(kind, [self._at] * (times - 1), **attributes)

    def end(self, name: str) -> None:
        """Let the chain's result go by that name."""
        if self.nodes:
            self.nodes[-1].output[0] = name
        else:
            self.nodes.append(helper.make_node("Identity", [self._at], [name], name=f"{PREFIX}{self._side}"))
