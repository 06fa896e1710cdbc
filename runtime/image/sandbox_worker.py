"""The process that decodes for `braintumor.runtime.image.sandbox`: it opens no file and imports no engine.

    python -m braintumor.runtime.image.sandbox_worker IMAGE_SECONDS IMAGE_MB

reads requests from standard input and writes replies to standard output, each as its length in 4 bytes and
MessagePack. The first message is empty and says that it has started. It ends where its input ends, as when its parent
is killed.
"""

import contextlib
import math
import os
import signal
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

import msgspec

from braintumor.errors import InputError
from braintumor.runtime.image.decode import decode_grey
from braintumor.runtime.image.geometry import Geometry, apply_geometry
from braintumor.runtime.image.loading import image_info
from braintumor.runtime.prediction import ImageInfo

__all__ = ["OUT_OF_MEMORY", "Reply", "Request", "read_message", "write_message"]

OUT_OF_MEMORY: Final = 7
"""Exit code of a process that may not take the memory that an image needs."""

_LENGTH: Final = struct.Struct("<I")
_MB: Final = 1_000_000


class Request(msgspec.Struct, frozen=True, array_like=True):
    """One image to decode.

    Attributes:
        name: For messages.
        data: The file.
        geometries: In which its pixels are wanted.
    """

    name: str
    data: bytes
    geometries: Sequence[Geometry]


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """The outcome.

    Attributes:
        image: Without its path; None where it cannot be read.
        pixels: For each requested geometry uint8 [height, width], as bytes.
        error: Message and remedy of the `InputError`.
    """

    image: ImageInfo | None = None
    pixels: Sequence[bytes] = ()
    error: tuple[str, str] = ("", "")


def write_message(stream: IO[bytes], message: bytes) -> None:
    """Write one message.

    Raises:
        OSError: Nobody reads any more.
    """
    stream.write(_LENGTH.pack(len(message)))
    stream.write(message)
    stream.flush()


def read_message(stream: IO[bytes]) -> bytes | None:
    """Read one message; None at the end of the stream."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    message = stream.read(length)
    return message if len(message) == length else None


def _answer(request: Request) -> Reply:
    try:
        grey = decode_grey(request.name, request.data)
        pixels = [apply_geometry(grey.pixels, geometry).tobytes() for geometry in request.geometries]
    except InputError as error:
        return Reply(error=(error.message, error.remedy))
    return Reply(image_info(None, grey), pixels)


def _limit_memory(image_mb: int) -> None:
    """Let this process grow by so much; where the system has no such limit, nothing."""
    with contextlib.suppress(ImportError, OSError, ValueError, IndexError):
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = used + image_mb * _MB
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _limit_cpu_time(image_seconds: float) -> None:
    """End this process when the next image takes so long, in case that its parent is not there to do it."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + image_seconds) + 1, hard))


def main() -> None:
    """Serve until standard input ends."""
    image_seconds, image_mb = float(sys.argv[1]), int(sys.argv[2])
    # The parent alone decides what Ctrl-C means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # What a library prints goes nowhere, whichever stream it takes.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    decoder, encoder = msgspec.msgpack.Decoder(Request), msgspec.msgpack.Encoder()
    _limit_memory(image_mb)
    try:
        write_message(replies, b"")
        while (message := read_message(requests)) is not None:
            _limit_cpu_time(image_seconds)
            write_message(replies, encoder.encode(_answer(decoder.decode(message))))
    except BrokenPipeError:
        pass
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    # Not by way of the interpreter's end: there is nothing to save, and the reader may be gone.
    os._exit(0)


if __name__ == "__main__":
    main()
