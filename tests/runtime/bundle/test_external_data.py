"""The walk through ONNX's wire format answers or raises ValueError, whatever the bytes are."""

import tracemalloc
from typing import Any

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from braintumor.runtime.bundle.external_data import has_external_data


def answer(raw: bytes) -> bool | None:
    try:
        external = has_external_data(memoryview(raw))
    except ValueError:
        return None
    assert isinstance(external, bool)
    return external


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


@given(st.binary(max_size=300))
def test_has_external_data_takes_any_bytes(raw: bytes) -> None:
    answer(raw)


# Bytes that look like ONNX messages reach deeper than random ones.
nested = st.recursive(
    st.binary(max_size=12),
    lambda inner: st.lists(
        st.tuples(st.sampled_from([1, 2, 5, 6, 7, 10, 11, 13, 14, 15, 20, 22, 23, 25]), inner), max_size=4
    ).map(lambda fields: b"".join(field(number, content) for number, content in fields)),
    max_leaves=12,
)


@given(nested, st.integers(0, 40))
def test_has_external_data_takes_nested_messages(raw: bytes, cut: int) -> None:
    answer(field(7, raw))
    answer(field(7, raw)[:-cut])


def test_has_external_data_takes_every_cut_of_a_model(graph: Any) -> None:
    raw = graph().SerializeToString()
    assert answer(raw) is False
    for end in range(len(raw)):
        assert answer(raw[:end]) in {False, None}


@given(st.data())
def test_has_external_data_finds_what_onnx_reads_as_external(graph: Any, data: st.DataObject) -> None:
    model = graph()
    tensors = [helper.make_tensor(f"t{i}", TensorProto.FLOAT, [1], [0.0]) for i in range(4)]
    chosen = data.draw(st.sets(st.integers(0, 3)))
    for index in chosen:
        tensors[index].data_location = TensorProto.EXTERNAL
    model.graph.initializer.extend(tensors)
    assert answer(model.SerializeToString()) is bool(chosen)


def test_has_external_data_refuses_endless_nesting() -> None:
    graph = b""
    for _ in range(1000):
        graph = field(1, field(5, field(6, graph)))
    with pytest.raises(ValueError, match="too deeply"):
        has_external_data(memoryview(field(7, graph)))


def test_has_external_data_refuses_long_numbers() -> None:
    with pytest.raises(ValueError, match="varint"):
        has_external_data(memoryview(b"\xff" * 11))


def test_has_external_data_copies_no_tensor() -> None:
    weights = onnx.TensorProto(name="w", data_type=TensorProto.UINT8, dims=[200_000_000])
    head = field(7, b"")[:1]
    tensor = weights.SerializeToString() + varint(9 << 3 | 2) + varint(200_000_000)
    inner = varint(5 << 3 | 2) + varint(len(tensor) + 200_000_000) + tensor
    raw = memoryview(bytearray(200_000_000 + 100))
    prefix = head + varint(len(inner) + 200_000_000) + inner
    raw[: len(prefix)] = prefix
    model = raw[: len(prefix) + 200_000_000]
    tracemalloc.start()
    try:
        assert has_external_data(model) is False
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
