"""The walk through ONNX's wire format accepts plain graphs, refuses all others, and raises nothing but ValueError."""

import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from braintumor.runtime.bundle import graph_check
from braintumor.runtime.bundle.graph_check import GraphError, check_graph
from braintumor.runtime.bundle.operators import OPERATORS


def check(raw: bytes) -> None:
    check_graph(io.BytesIO(raw))


def accepted(raw: bytes) -> bool:
    try:
        check(raw)
    except ValueError:
        return False
    return True


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


@given(st.binary(max_size=300))
def test_check_graph_takes_any_bytes(raw: bytes) -> None:
    accepted(raw)
    accepted(field(7, raw))


# Bytes that look like ONNX messages reach deeper than random ones.
nested = st.recursive(
    st.binary(max_size=12),
    lambda inner: st.lists(
        st.tuples(st.sampled_from([1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 20, 22, 23, 25]), inner), max_size=4
    ).map(lambda fields: b"".join(field(number, content) for number, content in fields)),
    max_leaves=12,
)


@given(nested, st.integers(0, 40))
def test_check_graph_takes_nested_messages(raw: bytes, cut: int) -> None:
    accepted(field(7, raw))
    accepted(field(7, raw)[:-cut])


def test_check_graph_refuses_every_cut_and_takes_the_whole(graph: Any) -> None:
    raw = graph().SerializeToString()
    assert accepted(raw)
    whole = [end for end in range(len(raw)) if accepted(raw[:end])]
    # What follows the graph is the version of the operators.
    assert all(onnx.ModelProto.FromString(raw[:end]).HasField("graph") for end in whole)


@given(st.data())
def test_check_graph_finds_what_onnx_reads_as_external(graph: Any, data: st.DataObject) -> None:
    model = graph()
    tensors = [helper.make_tensor(f"t{i}", TensorProto.FLOAT, [1], [0.0]) for i in range(4)]
    chosen = data.draw(st.sets(st.integers(0, 3)))
    for index in chosen:
        tensors[index].data_location = TensorProto.EXTERNAL
    model.graph.initializer.extend(tensors)
    assert accepted(model.SerializeToString()) is not bool(chosen)


def with_node(*arguments: Any, **attributes: Any) -> Callable[[onnx.ModelProto], object]:
    return lambda model: model.graph.node.append(helper.make_node(*arguments, **attributes))


def with_tensor(sizes: list[int], values: int) -> Callable[[onnx.ModelProto], object]:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=sizes, raw_data=bytes(4 * values))
    return lambda model: model.graph.initializer.append(tensor)


BODY = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "body", [], [])
FUNCTION = helper.make_function("own", "F", ["x"], ["y"], list(BODY.node), [helper.make_opsetid("", 18)])
WRONG: dict[str, tuple[Callable[[onnx.ModelProto], object], str]] = {
    "loop": (with_node("Loop", ["n", "c"], ["y"], body=BODY), "'Loop'"),
    "if": (with_node("If", ["c"], ["y"], then_branch=BODY, else_branch=BODY), "'If'"),
    "scan": (with_node("Scan", ["x"], ["y"], body=BODY, num_scan_inputs=1), "'Scan'"),
    "random": (with_node("RandomNormal", [], ["y"], shape=[1]), "'RandomNormal'"),
    "nothing": (with_node("", ["x"], ["y"]), "operator ''"),
    "another domain": (with_node("Relu", ["x"], ["y"], domain="com.microsoft"), "'com.microsoft'"),
    "body of a plain operator": (with_node("Relu", ["x"], ["y"], body=BODY), "control flow"),
    "bodies": (with_node("Relu", ["x"], ["y"], bodies=[BODY]), "control flow"),
    "function": (lambda model: model.functions.append(FUNCTION), "functions"),
    "training": (lambda model: model.training_info.add(), "training"),
    "sparse": (lambda model: model.graph.sparse_initializer.add(), "sparse"),
    "huge tensor": (with_tensor([1 << 31, 1 << 20], 1), "2251799813685248 elements in 4 bytes"),
    "negative tensor": (with_tensor([-1], 1), "elements in 4 bytes"),
    "empty content": (with_tensor([9], 1), "9 elements in 4 bytes"),
}


@pytest.mark.parametrize("what", WRONG)
def test_check_graph_refuses_what_no_bundle_may_hold(graph: Any, what: str) -> None:
    model = graph()
    change, words = WRONG[what]
    change(model)
    with pytest.raises(GraphError) as caught:
        check(model.SerializeToString())
    assert words in str(caught.value)


def test_check_graph_takes_tensors_of_every_storage(graph: Any) -> None:
    model = graph()
    model.graph.initializer.extend(
        [
            helper.make_tensor("floats", TensorProto.FLOAT, [5], [1.0] * 5),
            helper.make_tensor("small", TensorProto.INT8, [300], [1] * 300),
            helper.make_tensor("long", TensorProto.INT64, [2, 2], [0, 1, -1, 1 << 40]),
            helper.make_tensor("double", TensorProto.DOUBLE, [], [1.0]),
            helper.make_tensor("half", TensorProto.FLOAT16, [3], [1.0] * 3),
            helper.make_tensor("nibbles", TensorProto.INT4, [9], [1] * 9),
            helper.make_tensor("none", TensorProto.FLOAT, [0, 7], []),
        ]
    )
    check(model.SerializeToString())


def test_check_graph_refuses_a_node_without_or_with_two_operators(graph: Any) -> None:
    whole = graph().SerializeToString()
    assert accepted(whole + field(7, field(1, field(4, b"Relu")))) is False  # a second graph
    # Both occurrences of a graph are one to a parser; two operators of a node are the last of them.
    for node in (b"", field(3, b"name"), field(4, b"Relu") + field(4, b"Tanh")):
        with pytest.raises(GraphError, match="operator"):
            check(field(7, field(1, node)))


@pytest.mark.parametrize("number", [1, 2, 3, 6])
def test_check_graph_refuses_names_that_are_not_text(number: int) -> None:
    node = field(4, b"Relu") + field(number, b"caf\xe9")
    with pytest.raises(GraphError, match="UTF-8"):
        check(field(7, field(1, node)))


def test_check_graph_refuses_fields_that_are_not_known() -> None:
    assert accepted(field(7, field(1, field(4, b"Relu"))))
    assert not accepted(field(7, field(1, field(4, b"Relu") + field(12, b"body"))))
    # A known field in another wire type is one that a parser skips.
    assert not accepted(field(7, field(1, varint(4 << 3) + b"\x01")))
    # The same field number in a tag of more than 32 bits.
    assert not accepted(varint(1 << 35 | 7 << 3 | 2) + varint(0) + field(7, b""))


def test_check_graph_counts_nodes_and_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_check, "MAX_NODES", 3)
    monkeypatch.setattr(graph_check, "MAX_TENSORS", 2)
    node = field(1, field(4, b"Relu"))
    tensor = field(5, field(9, b"\0"))
    assert accepted(field(7, node * 3 + tensor * 2))
    for raw in (node * 4, tensor * 3):
        with pytest.raises(GraphError, match="more than"):
            check(field(7, raw))


def test_check_graph_refuses_long_numbers() -> None:
    with pytest.raises(ValueError, match="varint"):
        check(b"\xff" * 11)


def test_check_graph_reads_no_tensor(tmp_path: Path) -> None:
    weights = onnx.TensorProto(name="w", data_type=TensorProto.UINT8, dims=[200_000_000])
    tensor = weights.SerializeToString() + varint(9 << 3 | 2) + varint(200_000_000)
    inner = varint(5 << 3 | 2) + varint(len(tensor) + 200_000_000) + tensor
    path = tmp_path / "large.onnx"
    with path.open("wb") as stream:
        stream.write(varint(7 << 3 | 2) + varint(len(inner) + 200_000_000) + inner)
        stream.truncate(stream.tell() + 200_000_000)  # sparse
    tracemalloc.start()
    try:
        with path.open("rb", buffering=0) as file:
            check_graph(file)
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


class Counting(io.BytesIO):
    """Counts what is read."""

    total = 0

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(size)
        self.total += len(chunk)
        return chunk


def test_check_graph_reads_in_linear_time() -> None:
    def read_bytes(nodes: int) -> int:
        stream = Counting(field(7, field(1, field(4, b"Relu") + field(1, b"x" * 40)) * nodes))
        check_graph(stream)
        return stream.total

    assert read_bytes(8000) < 2.2 * read_bytes(4000)


def test_operators_are_onnx_operators_without_random_values() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}
    assert known >= OPERATORS
    assert not any("Random" in name or "Sequence" in name for name in OPERATORS - {"ReverseSequence"})
    assert OPERATORS.isdisjoint({"If", "Loop", "Scan", "Dropout", "Bernoulli", "Multinomial", "ImageDecoder"})
