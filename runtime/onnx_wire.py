"""Does an ONNX file point at other files? Answered from its wire format, without the `onnx` package.

An ONNX tensor may name an external file (`external_data`, `data_location`), which a runtime would open on
loading. A bundle allows none. Only the headers of the protocol buffer are walked: field numbers are those
of onnx.proto3 (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3), the encoding that of
https://protobuf.dev/programming-guides/encoding/.
"""

from collections.abc import Iterator, Mapping
from typing import Final

__all__ = ["has_external_data"]

# Message kind → {field number: kind of the message in it}; only what can lead to a tensor.
_CHILDREN: Final[Mapping[str, Mapping[int, str]]] = {
    "model": {7: "graph", 25: "function"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA: Final = 13
_DATA_LOCATION: Final = 14

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES: Final = 10
_MAX_DEPTH: Final = 64


def has_external_data(model: memoryview) -> bool:
    """Whether any tensor of a serialised ONNX model lies in another file.

    Raises:
        ValueError: The bytes are not a protocol buffer.
    """
    return _external(model, "model", 0)


def _external(message: memoryview, kind: str, depth: int) -> bool:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    children = _CHILDREN[kind]
    for field, wire, value in _fields(message):
        if kind == "tensor" and field == _EXTERNAL_DATA:
            return True
        if kind == "tensor" and field == _DATA_LOCATION and value != 0:
            return True
        if field in children and wire == _BYTES:
            assert isinstance(value, memoryview)  # noqa: S101 - narrows the type: length-delimited
            if _external(value, children[field], depth + 1):
                return True
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Field number, wire type and value of each field; values of fixed size are not decoded."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        field, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield field, wire, value
            continue
        if wire == _BYTES:
            length, at = _varint(message, at)
        elif wire in {_FIXED64, _FIXED32}:
            length = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at + length > end:
            raise ValueError(f"field {field} ends beyond the message")
        yield field, wire, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        if at + index >= len(message):
            break
        byte = message[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, at + index + 1
    raise ValueError(f"no varint at byte {at}")
