"""The wire format of protocol buffers, read without a library: fields, numbers, and where their values lie.

The encoding is that of https://protobuf.dev/programming-guides/encoding/.
"""

from collections.abc import Iterator
from typing import BinaryIO, Final

__all__ = ["BYTES", "FIXED32", "FIXED64", "VARINT", "Message", "PagedFile", "fields", "varint", "varints"]

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5

_CONTINUED: Final = 0x80
_MAX_VARINT_BYTES: Final = 10
# Libraries read a tag as 32 bits, and would see another field in a larger one.
_MAX_TAG: Final = (1 << 32) - 1
_PAGE_BYTES: Final = 1 << 13


class PagedFile:
    """The bytes of an open file, by position, of which one page is held at a time.

    Not a map of the file: where another process cuts the file short, reading a map ends this one.
    """

    def __init__(self, stream: BinaryIO) -> None:
        """Take over an open file, from its first byte on.

        Args:
            stream: Open for reading, unbuffered.
        """
        self._stream = stream
        self._page = b""
        self._start = 0
        self.size_bytes = stream.seek(0, 2)

    def __getitem__(self, at: int) -> int:
        """The byte at a position.

        Raises:
            ValueError: The file ends before.
        """
        index = at - self._start
        if not 0 <= index < len(self._page):
            self._stream.seek(at)
            self._page, self._start, index = self._stream.read(_PAGE_BYTES), at, 0
            if not self._page:
                raise ValueError(f"no byte {at}")
        return self._page[index]

    def read(self, first: int, last: int) -> bytes:
        """The bytes from `first` to `last` (exclusive).

        Raises:
            ValueError: The file ends before.
        """
        self._stream.seek(first)
        chunk = self._stream.read(last - first)
        if len(chunk) != last - first:
            raise ValueError(f"no bytes {first} to {last}")
        return chunk


Message = bytes | PagedFile
"""What holds a message: bytes, or a file where it is too long to be read at once."""


def fields(message: Message, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Field number, wire type, and the first and last (exclusive) byte of each field's value.

    A number's value starts at its first byte; read it with `varint`.

    Args:
        message: What holds it.
        at: Its first byte.
        end: The byte after its last.

    Raises:
        ValueError: The bytes are not a message.
    """
    while at < end:
        tag = message[at]
        at += 1
        if tag >= _CONTINUED:
            tag, at = varint(message, at - 1, end)
        wire, first = tag & 7, at
        if wire == BYTES:
            # Most lengths are one byte: no call for those.
            length, first = (message[at], at + 1) if at < end else (_CONTINUED, at)
            if length >= _CONTINUED:
                length, first = varint(message, at, end)
            at = first + length
        elif wire == VARINT:
            _, at = varint(message, at, end)
        elif wire == FIXED32:
            at += 4
        elif wire == FIXED64:
            at += 8
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at > end or not 8 <= tag <= _MAX_TAG:  # noqa: PLR2004 - there is no field 0
            raise ValueError(f"field {tag >> 3} is not a field, or ends beyond its message")
        yield tag >> 3, wire, first, at


def varint(message: Message, at: int, end: int) -> tuple[int, int]:
    """The number that starts at byte `at`, and the byte after it.

    Raises:
        ValueError: It ends beyond byte `end`, or has more than 64 bits.
    """
    value = shift = 0
    for index in range(at, min(at + _MAX_VARINT_BYTES, end)):
        byte = message[index]
        value |= (byte & 0x7F) << shift
        if byte < _CONTINUED:
            if value >> 64:
                break
            return value, index + 1
        shift += 7
    raise ValueError(f"no varint at byte {at}")


def varints(message: Message, first: int, last: int) -> Iterator[int]:
    """The numbers in these bytes: one, or those of a packed field.

    Raises:
        ValueError: They are not numbers.
    """
    while first < last:
        value, first = varint(message, first, last)
        yield value
