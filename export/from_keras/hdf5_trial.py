"""Reads all of an HDF5 file once, in a process that may hang or crash over it.

    python -m braintumor.export.from_keras.hdf5_trial FILE [MEMBER]

MEMBER is the HDF5 file inside of a zip archive. The HDF5 library loops for ever over some damaged files, and
meanwhile no thread and no signal gets through; over others it crashes. `hdf5_guard.py` starts this process.
What Python can catch is left to the process that reads the file afterwards: the exit status is 0.
"""

import io
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from braintumor.child import end_with_parent

__all__ = ["CPU_S", "walk"]

CPU_S: Final = 10
"""CPU seconds after which the system ends this process, whether its parent lives or not."""

_MEMORY_BYTES: Final = 16 << 30
_MAX_OBJECTS: Final = 1_000_000


def walk(file: Any) -> Iterator[Any]:
    """Every group and dataset of an open file, each once, even where they form circles; no link is followed."""
    import h5py

    stack, seen = [file], {h5py.h5o.get_info(file.id).addr}
    while stack and len(seen) < _MAX_OBJECTS:
        item = stack.pop()
        yield item
        for name in item if isinstance(item, h5py.Group) else ():
            with suppress(Exception):
                if item.id.links.get_info(name.encode()).type == h5py.h5l.TYPE_HARD:
                    child = item[name]
                    address = h5py.h5o.get_info(child.id).addr
                    if address not in seen:
                        seen.add(address)
                        stack.append(child)


def _read(item: Any) -> None:
    """Read an object: all of its metadata, and the places of a dataset's values."""
    import h5py

    for name in item.attrs:
        with suppress(Exception):
            item.attrs[name]
    if isinstance(item, h5py.Dataset):
        with suppress(Exception):
            _ = (item.shape, item.dtype, item.compression, item.is_virtual, item.external)
        with suppress(Exception):
            item.id.get_storage_size()
            for index in range(item.id.get_num_chunks() if item.chunks else 0):
                item.id.get_chunk_info(index)


def _limit() -> None:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 1))
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(path: str, member: str | None = None) -> None:
    """Read a file."""
    import h5py

    _limit()
    with suppress(Exception):
        source: Any = path
        if member is not None:
            with zipfile.ZipFile(path) as archive:
                source = io.BytesIO(archive.read(member))
        with h5py.File(source, "r") as file:
            for item in walk(file):
                with suppress(Exception):
                    _read(item)


if __name__ == "__main__":
    end_with_parent()
    main(*sys.argv[1:])
