"""Images decoded in processes of their own, within limits of time and memory.

A file over which a decoder hangs, crashes or asks for too much memory costs its own error, and nothing else: the
process is ended and replaced, and what the decoder prints reaches no terminal.

    with Sandbox() as sandbox:
        for prediction in ensemble.predict_many(paths, sandbox=sandbox):
            ...
"""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import numpy as np

from braintumor.errors import InputError, UnavailableError, UsageError
from braintumor.runtime.image.geometry import Geometry
from braintumor.runtime.image.loading import (
    PreparedImage,
    Source,
    elapsed_ms,
    failed_image,
    path_of,
    prepare_image,
    read_source,
)
from braintumor.runtime.image.resize import Pixels
from braintumor.runtime.image.sandbox_worker import OUT_OF_MEMORY, Reply, Request, read_message, write_message
from braintumor.runtime.prediction import ImageInfo

__all__ = ["IMAGE_MB", "IMAGE_SECONDS", "MAX_PROCESSES", "Sandbox"]

IMAGE_SECONDS: Final = 5.0
"""Default limit of the time that one image may take, in seconds."""

IMAGE_MB: Final = 512
"""Default limit of the memory that one image may take, in 1e6 bytes, its file included."""

MAX_PROCESSES: Final = 8
"""More would only hold more images at a time."""

_MODULE: Final = "braintumor.runtime.image.sandbox_worker"
_MB: Final = 1_000_000
# A busy machine is slow to start a process.
_START_SECONDS: Final = 60.0
_END_SECONDS: Final = 2.0
# One image at a time: threads of libraries would only cost memory.
_ENVIRONMENT: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# The terminal sends Ctrl-C to a whole group of processes.
if sys.platform == "win32":
    _OWN_GROUP: Final[dict[str, Any]] = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
else:
    _OWN_GROUP: Final[dict[str, Any]] = {"process_group": 0}


class Sandbox:
    """Processes that decode images; a context manager. Threads may share one.

    The time limit holds everywhere; the memory limit on Linux.

    Attributes:
        image_seconds: Limit of the time that one image may take.
        image_mb: Limit of the memory that one image may take, in 1e6 bytes.
    """

    def __init__(
        self, *, processes: int | None = None, image_seconds: float = IMAGE_SECONDS, image_mb: int = IMAGE_MB
    ) -> None:
        """Begin to start the processes; nothing is waited for.

        Args:
            processes: Number of images at a time; None for the number of CPUs, at most 8.
            image_seconds: An image that takes longer is given up.
            image_mb: An image that takes more memory is given up.

        Raises:
            UsageError: A limit or a number that is not above 0.
            UnavailableError: No process can be started.
        """
        count = min(MAX_PROCESSES, os.cpu_count() or 1) if processes is None else processes
        for name, value in (("processes", count), ("image_seconds", image_seconds), ("image_mb", image_mb)):
            if not value > 0:
                raise UsageError(f"`{name}` must be > 0, got {value!r}")
        self.image_seconds, self.image_mb = image_seconds, image_mb
        self._owner = os.getpid()
        self._workers = [_Worker(image_seconds, image_mb) for _ in range(count)]
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        for worker in self._workers:
            self._idle.put(worker)

    def prepare(self, source: Source, geometries: Collection[Geometry]) -> PreparedImage:
        """Decode and resize, as `prepare_image`; an image that cannot be read comes back with its error.

        Raises:
            UsageError: The sandbox is closed, or was made by another process.
            UnavailableError: A process that ended cannot be replaced.
        """
        if self._owner != os.getpid():
            raise UsageError("the sandbox was made by another process", "make one in this process")
        if isinstance(source, np.ndarray):  # has no decoder
            return prepare_image(source, geometries)
        start = time.perf_counter()
        try:
            image, pixels = self._decode(Request(*read_source(source), tuple(geometries)))
        except InputError as error:
            return failed_image(source, error, elapsed_ms(start))
        return PreparedImage(replace(image, path=path_of(source)), elapsed_ms(start), pixels)

    def _decode(self, request: Request) -> tuple[ImageInfo, dict[Geometry, Pixels]]:
        if len(request.data) > self.image_mb * _MB:
            raise InputError(
                f"{request.name}: {len(request.data):,} bytes, more than the {self.image_mb} MB that it may take",
                "export the slice alone, or allow more with `image_mb`",
            )
        worker = self._idle.get()
        try:
            reply = worker.decode(request)
        finally:
            self._idle.put(worker)
        if reply.image is None:
            raise InputError(*reply.error)
        try:
            pixels = {
                geometry: np.frombuffer(raw, np.uint8).reshape(geometry.height, geometry.width)
                for geometry, raw in zip(request.geometries, reply.pixels, strict=True)
            }
        except ValueError as error:
            raise _unfit(request) from error
        return reply.image, pixels

    def close(self) -> None:
        """End the processes; what is being decoded is given up. May be called twice."""
        if self._owner != os.getpid():
            # They are the parent's.
            return
        for worker in self._workers:
            worker.close()

    def __enter__(self) -> Self:
        """The sandbox itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


class _Worker:
    """One process, or the next one in its place."""

    def __init__(self, image_seconds: float, image_mb: int) -> None:
        self._image_seconds, self._image_mb = image_seconds, image_mb
        self._encoder, self._decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Reply)
        # Held while the process is ended or replaced, and while it is decided whether it is late.
        self._lock = threading.Lock()
        self._closed = self._ready = self._late = False
        self._turn = 0
        self._process = self._start()

    def decode(self, request: Request) -> Reply:
        """Have one image decoded.

        Raises:
            InputError: The process died of it, or was late.
            UsageError: The sandbox is closed.
            UnavailableError: The process cannot be started.
        """
        self._replace_ended()
        if not self._ready:
            self._ready = self._exchange(None, _START_SECONDS) is not None
            if not self._ready:
                raise UnavailableError(
                    f"a process to decode images in does not start (it {self._end_reason()})", "use `sandbox=False`"
                )
        reply = self._exchange(self._encoder.encode(request), self._image_seconds)
        if reply is not None:
            try:
                return self._decoder.decode(reply)
            except msgspec.DecodeError as error:
                raise _unfit(request) from error
        if self._closed:
            raise _closed()
        if self._late:
            raise InputError(
                f"{request.name}: decoding it takes more than {self._image_seconds:g} s",
                "copy or export it again, or allow more with `image_seconds`",
            )
        raise InputError(f"{request.name}: its decoder {self._end_reason()}", "copy or export it again")

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._closed = True
            self._process.kill()
            self._process.wait()
            self._close_pipes()

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-P", "-m", _MODULE, str(self._image_seconds), str(self._image_mb)]
        try:
            return subprocess.Popen(  # noqa: S603 - our own module in our own interpreter
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | _ENVIRONMENT,
                **_OWN_GROUP,
            )
        except OSError as error:
            raise UnavailableError(
                f"no process to decode images in can be started ({error.strerror or error})", "use `sandbox=False`"
            ) from error

    def _replace_ended(self) -> None:
        with self._lock:
            if self._closed:
                raise _closed()
            if self._process.poll() is not None:
                self._close_pipes()
                self._process, self._ready = self._start(), False

    def _exchange(self, message: bytes | None, limit_s: float) -> bytes | None:
        """Send a message, if any, and wait for the reply; None when the process ended or was late."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None  # noqa: S101, PT018 - both are pipes
        self._late = False
        # A timer of its own: pipes of Windows cannot be polled.
        limit = threading.Timer(limit_s, self._expire, [self._turn])
        limit.daemon = True
        limit.start()
        try:
            if message is not None:
                write_message(stdin, message)
            reply = read_message(stdout)
        except (OSError, ValueError):  # the process ended, or another thread has closed its pipes
            reply = None
        finally:
            limit.cancel()
            with self._lock:
                self._turn += 1
        if reply is None:
            # Its pipes close a little before it ends; how it ends is worth waiting for.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)
            self._process.kill()
            self._process.wait()
        return reply

    def _expire(self, turn: int) -> None:
        with self._lock:
            if turn == self._turn:
                self._late = True
                self._process.kill()

    def _end_reason(self) -> str:
        code = self._process.wait()
        if code == OUT_OF_MEMORY:
            return f"takes more than {self._image_mb} MB"
        names = {-number.value: number.name for number in signal.Signals}
        return f"died of {names[code]}" if code in names else f"ended with exit code {code}"

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was not sent
                    pipe.close()


def _unfit(request: Request) -> InputError:
    return InputError(f"{request.name}: its decoder gave no image", "copy or export it again")


def _closed() -> UsageError:
    return UsageError("the sandbox is closed", "make another one")
