"""What a caller asks of an ensemble, checked before anything is loaded."""

import operator
import os
import re
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from braintumor.errors import UsageError

__all__ = ["asked_device", "asked_number", "asked_sources", "asked_threads"]

_INDEXED_DEVICE = re.compile(r"(cuda|gpu):[0-9]{1,3}")


def asked_device(device: str | None) -> tuple[str | None, int]:
    """The kind of device and the index that a device's name asks for.

    Raises:
        UsageError: It is no device's name.
    """
    if device is None or device in {"cpu", "cuda", "gpu"}:
        return device, 0
    if not (isinstance(device, str) and _INDEXED_DEVICE.fullmatch(device)):
        raise UsageError(f"no device is called {device!r}; allowed are cpu, cuda, cuda:0, cuda:1, …, gpu, gpu:0, …")
    kind, _, index = device.partition(":")
    return kind, int(index)


def asked_number(what: str, value: Any) -> int:
    """A whole number of 1 or more.

    Raises:
        UsageError: It is none.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise UsageError(f"`{what}` must be a whole number >= 1, got {value!r}")
    return number


def asked_threads(what: str, value: int | None) -> int | None:
    """A number of threads, at most as many as the machine has CPUs; None where it is left open.

    More would wait for each other: 64 on two cores take 30 times as long as two, and the machine with them.

    Raises:
        UsageError: It is no number of threads.
    """
    return None if value is None else min(asked_number(what, value), os.cpu_count() or 1)


def asked_sources(sources: Any) -> Iterable[Any]:
    """Something that gives one source after another.

    Raises:
        UsageError: It is a source itself; a path would be taken for its letters.
    """
    if isinstance(sources, str | bytes | bytearray | PurePath) or not isinstance(sources, Iterable):
        raise UsageError(f"predict_many takes many images and got {sources!r:.100}; write [image], or use predict")
    return sources
