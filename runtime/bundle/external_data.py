"""Detection of external data in an ONNX file, from its wire format, without the `onnx` package.

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
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
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

    Args:
        model: The file's bytes. Neither copied nor sliced, so that a map of the file can be closed afterwards.

    Raises:
        ValueError: The bytes are not a protocol buffer.
    """
    return _external(model, "model", 0, len(model), 0)


def _external(message: memoryview, kind: str, start: int, end: int, depth: int) -> bool:
    """Whether the message of that kind in the bytes `start` to `end` names another file."""
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    children = _CHILDREN[kind]
    for field, wire, first, last in _fields(message, start, end):
        if kind == "tensor" and field == _EXTERNAL_DATA:
            return True
        if kind == "tensor" and field == _DATA_LOCATION and (wire != _VARINT or _varint(message, first, last)[0]):
            return True
        if field in children and wire == _BYTES and _external(message, children[field], first, last, depth + 1):
            return True
    return False


def _fields(message: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Field number, wire type and the first and last (exclusive) byte of each field's value."""
    at = start
    while at < end:
        tag, at = _varint(message, at, end)
        field, wire = tag >> 3, tag & 7
        first = at
        if wire == _VARINT:
            _, at = _varint(message, at, end)
        elif wire == _BYTES:
            length, first = _varint(message, at, end)
            at = first + length
        elif wire in {_FIXED64, _FIXED32}:
            at += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at > end:
            raise ValueError(f"field {field} ends beyond the message")
        yield field, wire, first, at


def _varint(message: memoryview, at: int, end: int) -> tuple[int, int]:
    """The number that starts at byte `at`, and the byte after it."""
    value = 0
    for index in range(at, min(at + _MAX_VARINT_BYTES, end)):
        byte = message[index]
        value |= (byte & 0x7F) << (7 * (index - at))
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, index + 1
    raise ValueError(f"no varint at byte {at}")
