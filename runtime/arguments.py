"""Arguments of an ensemble, checked before anything is loaded."""

import operator
import os
import re
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from braintumor.errors import UsageError

__all__ = ["check_count", "check_sources", "limit_threads", "parse_device"]

_INDEXED_DEVICE = re.compile(r"(cuda|gpu):[0-9]{1,3}")


def parse_device(device: str | None) -> tuple[str | None, int]:
    """Kind and index of a device such as "cuda:1"; (None, 0) for None.

    Raises:
        UsageError: It is not the name of a device.
    """
    if device is None or device in {"cpu", "cuda", "gpu"}:
        return device, 0
    if not (isinstance(device, str) and _INDEXED_DEVICE.fullmatch(device)):
        raise UsageError(f"no device is called {device!r}; allowed are cpu, cuda, cuda:0, cuda:1, …, gpu, gpu:0, …")
    kind, _, index = device.partition(":")
    return kind, int(index)


def check_count(parameter: str, value: Any) -> int:
    """The value as a whole number of 1 or more.

    Raises:
        UsageError: It is not one.
    """
    try:
        count = operator.index(value)
    except TypeError:
        count = 0
    if count < 1:
        raise UsageError(f"`{parameter}` must be a whole number >= 1, got {value!r}")
    return count


def limit_threads(parameter: str, value: int | None) -> int | None:
    """A number of threads, at most as many as the machine has CPUs; None for None.

    More would wait for each other: 64 on two cores take 30 times as long as two, and the machine with them.

    Raises:
        UsageError: It is not a number of threads.
    """
    return None if value is None else min(check_count(parameter, value), os.cpu_count() or 1)


def check_sources(sources: Any) -> Iterable[Any]:
    """The sources, if they are several.

    Raises:
        UsageError: They are one source; a path would be taken for its letters.
    """
    if isinstance(sources, str | bytes | bytearray | PurePath) or not isinstance(sources, Iterable):
        raise UsageError(f"predict_many takes many images and got {sources!r:.100}", "write [image], or use predict")
    return sources
