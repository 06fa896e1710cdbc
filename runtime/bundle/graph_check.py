"""The check of a member's graph before any library parses it: what it holds, from its wire format, without `onnx`.

A bundle may come from anywhere, and whoever can write one can write fitting hashes. So a graph may hold only what a
classifier of pixels needs: the operators of `braintumor.runtime.bundle.operators`, weights within the file, names
that are text. Every field of every message on the way to a node or a tensor must be one that is listed here; field
numbers are those of onnx.proto3 (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3).

Only headers are read: a walk takes time by the number of nodes and tensors, not by the size of the weights.
"""

import math
from collections.abc import Callable, Mapping
from typing import BinaryIO, Final

from braintumor.runtime.bundle import wire
from braintumor.runtime.bundle.operators import OPERATORS
from braintumor.runtime.bundle.wire import BYTES, FIXED32, FIXED64, VARINT, Message, PagedFile

__all__ = ["MAX_NODES", "MAX_TENSORS", "GraphError", "check_graph"]

MAX_NODES: Final = 1 << 16
MAX_TENSORS: Final = 1 << 16
# What a protocol buffer can hold.
_MAX_MODEL_BYTES: Final = (1 << 31) - 1
_DOMAINS: Final = frozenset({"", "ai.onnx"})
# Messages up to this size are read at once; of longer ones only pages.
_AT_ONCE_BYTES: Final = 1 << 16
# The smallest element is half a byte.
_ELEMENTS_PER_BYTE: Final = 2


class GraphError(ValueError):
    """A graph that a bundle may not hold. The text goes on after the name of the file: "holds the operator …"."""


def check_graph(stream: BinaryIO) -> None:
    """Refuse a serialised ONNX model that is not a plain graph of tensors.

    Args:
        stream: Open for reading, unbuffered.

    Raises:
        GraphError: It holds control flow or another operator that is not allowed, functions, weights in other files,
            tensors larger than their content, or too many nodes.
        ValueError: The bytes are not a model.
        OSError: They cannot be read.
    """
    file = PagedFile(stream)
    if file.size_bytes > _MAX_MODEL_BYTES:
        raise GraphError(f"has {file.size_bytes} bytes; an ONNX file has at most {_MAX_MODEL_BYTES}")
    walk = _Walk(file)
    walk.message("model", file, 0, file.size_bytes)
    if walk.graphs != 1:
        raise ValueError(f"{walk.graphs} graphs")


class _Walk:
    """A walk through one model, counting."""

    def __init__(self, file: PagedFile) -> None:
        self._file = file
        self.graphs = self.nodes = self.tensors = self.operators = 0
        # Of the tensor that is walked.
        self._elements = self._content_bytes = 0

    def message(self, kind: str, message: Message, first: int, last: int) -> None:
        """Check every field of a message."""
        known = _FIELDS[kind]
        for field, kind_of_value, start, end in wire.fields(message, first, last):
            rule = known.get(field)
            if rule is None or kind_of_value not in rule[0]:
                raise ValueError(f"a {kind} with field {field} of wire type {kind_of_value}")
            check = rule[1]
            if check is not None:
                check(self, message, start, end)

    def graph(self, message: Message, first: int, last: int) -> None:
        self.graphs += 1
        self.message("graph", message, first, last)

    def node(self, message: Message, first: int, last: int) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise GraphError(f"holds more than {MAX_NODES} nodes")
        before = self.operators
        self.message("node", *self._at_once(message, first, last))
        if self.operators != before + 1:
            raise GraphError("holds a node without an operator, or with two")

    def value(self, message: Message, first: int, last: int) -> None:
        self.message("value", *self._at_once(message, first, last))

    def tensor(self, message: Message, first: int, last: int) -> None:
        self.tensors += 1
        if self.tensors > MAX_TENSORS:
            raise GraphError(f"holds more than {MAX_TENSORS} tensors")
        self._elements, self._content_bytes = 1, 0
        self.message("tensor", *self._at_once(message, first, last))
        if self._elements > _ELEMENTS_PER_BYTE * self._content_bytes:
            raise GraphError(f"holds a tensor of {self._elements} elements in {self._content_bytes} bytes")

    def sizes(self, message: Message, first: int, last: int) -> None:
        # A negative size is a number above all that can be in a file.
        self._elements *= math.prod(wire.varints(message, first, last))

    def content(self, _message: Message, first: int, last: int) -> None:
        self._content_bytes += last - first

    def text(self, message: Message, first: int, last: int) -> None:
        _text(message, first, last)

    def operator(self, message: Message, first: int, last: int) -> None:
        self.operators += 1
        name = _text(message, first, last)
        if name not in OPERATORS:
            raise GraphError(f"holds the operator {name[:40]!r}; a bundle may hold plain operators on tensors only")

    def domain(self, message: Message, first: int, last: int) -> None:
        name = _text(message, first, last)
        if name not in _DOMAINS:
            raise GraphError(f"holds an operator of the domain {name[:40]!r}; only ONNX's own are allowed")

    def location(self, message: Message, first: int, last: int) -> None:
        if wire.varint(message, first, last)[0]:
            _outside(self, message, first, last)

    def _at_once(self, message: Message, first: int, last: int) -> tuple[Message, int, int]:
        if isinstance(message, bytes) or last - first > _AT_ONCE_BYTES:
            return message, first, last
        return message.read(first, last), 0, last - first


def _text(message: Message, first: int, last: int) -> str:
    raw = message[first:last] if isinstance(message, bytes) else message.read(first, last)
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise GraphError(f"holds a name that is not text in UTF-8 ({raw[:40]!r})") from error


Check = Callable[[_Walk, Message, int, int], None]


def _refused(what: str) -> Check:
    def refuse(*_: object) -> None:
        raise GraphError(what)

    return refuse


def _inside(kind: str) -> Check:
    return lambda walk, message, first, last: walk.message(kind, message, first, last)


_NUMBER: Final = frozenset({VARINT})
_FLOAT: Final = frozenset({FIXED32})
_BYTES: Final = frozenset({BYTES})
_outside: Final = _refused("keeps weights in other files (ONNX external data)")
_functions: Final = _refused("holds functions of its own; a bundle may hold ONNX's own operators only")
_control_flow: Final = _refused("holds a graph within a node (control flow), which may never end")
_sparse: Final = _refused("holds a sparse tensor")
_training: Final = _refused("holds a graph for training")

_Rule = tuple[frozenset[int], Check | None]
_TEXT: Final[_Rule] = (_BYTES, _Walk.text)
_SKIPPED: Final[_Rule] = (_BYTES, None)
# float_data, int32_data, int64_data, raw_data, double_data, uint64_data.
_CONTENT: Final[_Rule] = (_NUMBER | _FLOAT | _BYTES | {FIXED64}, _Walk.content)

# Message → its fields: wire types, and the check of the value. Metadata, types and device hints are skipped.
_FIELDS: Final[Mapping[str, Mapping[int, _Rule]]] = {
    "model": {
        1: (_NUMBER, None), 2: _TEXT, 3: _TEXT, 4: _TEXT, 5: (_NUMBER, None), 6: _TEXT, 7: (_BYTES, _Walk.graph),
        8: (_BYTES, _inside("opset")), 14: _SKIPPED, 20: (_BYTES, _training), 25: (_BYTES, _functions),
    },
    "opset": {1: _TEXT, 2: (_NUMBER, None)},
    "graph": {
        1: (_BYTES, _Walk.node), 2: _TEXT, 5: (_BYTES, _Walk.tensor), 10: _TEXT, 11: (_BYTES, _Walk.value),
        12: (_BYTES, _Walk.value), 13: (_BYTES, _Walk.value), 14: _SKIPPED, 15: (_BYTES, _sparse), 16: _SKIPPED,
    },
    "value": {1: _TEXT, 2: _SKIPPED, 3: _TEXT, 4: _SKIPPED},
    "node": {
        1: _TEXT, 2: _TEXT, 3: _TEXT, 4: (_BYTES, _Walk.operator), 5: (_BYTES, _inside("attribute")), 6: _TEXT,
        7: (_BYTES, _Walk.domain), 9: _SKIPPED,
    },
    "attribute": {
        1: _TEXT, 2: (_FLOAT, None), 3: (_NUMBER, None), 4: _SKIPPED, 5: (_BYTES, _Walk.tensor),
        6: (_BYTES, _control_flow), 7: (_FLOAT | _BYTES, None), 8: (_NUMBER | _BYTES, None), 9: _SKIPPED,
        10: (_BYTES, _Walk.tensor), 11: (_BYTES, _control_flow), 13: _TEXT, 20: (_NUMBER, None),
        22: (_BYTES, _sparse), 23: (_BYTES, _sparse),
    },
    "tensor": {
        1: (_NUMBER | _BYTES, _Walk.sizes), 2: (_NUMBER, None), 4: _CONTENT, 5: _CONTENT, 7: _CONTENT, 8: _TEXT,
        9: _CONTENT, 10: _CONTENT, 11: _CONTENT, 12: _TEXT, 13: (_BYTES, _outside), 14: (_NUMBER, _Walk.location),
        16: _SKIPPED,
    },
}  # fmt: skip
