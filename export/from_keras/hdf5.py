"""An HDF5 file of somebody else's: nothing outside of it is read, and damage is told in one line."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from braintumor.errors import ModelError

__all__ = ["HDF5_MAGIC", "Hdf5Reader", "damage_told", "open_hdf5"]

HDF5_MAGIC: Final = b"\x89HDF\r\n\x1a\n"

# What h5py raises on bytes that are not what they should be.
_DAMAGE: Final = (OSError, RuntimeError, LookupError, ValueError, TypeError, ArithmeticError, SystemError)
_PARTS: Final = 8
_MAX_NAMES: Final = 1 << 16


@contextlib.contextmanager
def open_hdf5(path: Path, source: Path | BinaryIO) -> "Iterator[Hdf5Reader]":
    """Open an HDF5 file for reading.

    Args:
        path: For messages.
        source: The file, or its contents.

    Raises:
        ModelError: It is damaged.
    """
    import h5py

    with damage_told(path, "it"):
        file = h5py.File(source, "r")
    with contextlib.closing(file):
        yield Hdf5Reader(path, file)


@contextlib.contextmanager
def damage_told(path: Path, what: str) -> Iterator[None]:
    """Turn what h5py raises on damaged bytes into one line.

    Raises:
        ModelError: The block met damage.
    """
    try:
        yield
    except _DAMAGE as error:
        told = " ".join(str(error).split())
        raise ModelError(f"{path}: {what} is damaged ({told}); save or copy it again") from error


class Hdf5Reader:
    """Groups, datasets and attributes by name, each step looked at before it is taken.

    Attributes:
        path: For messages.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self.path = path
        self._groups: dict[str, Any] = {"": file}

    def group(self, path: str) -> Any:
        """A group that lies in this file; None where there is none.

        Raises:
            ModelError: A link is on the way, or something that is not a group.
        """
        import h5py

        if path not in self._groups:
            above, _, name = path.rpartition("/")
            parent = self.group(above)
            found = None if parent is None or name not in parent else self.member(parent, name)
            if found is not None and not isinstance(found, h5py.Group):
                raise ModelError(f"{self.path}: {path} in its weights is not a group; save the model again")
            self._groups[path] = found
        return self._groups[path]

    def member(self, group: Any, name: str) -> Any:
        """A group or dataset inside a group, never what a link in its place leads to.

        Raises:
            ModelError: It is a link.
        """
        import h5py

        if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise ModelError(
                f"{self.path}: {group.name}/{name} in its weights is a link to somewhere else, which is never "
                "followed; save the model again with model.save('x.keras')"
            )
        return group[name]

    def text(self, path: str, name: str) -> str | None:
        """An attribute of a group that holds one text; None where there is none.

        Raises:
            ModelError: It holds something else.
        """
        with damage_told(self.path, f"its attribute {name}"):
            group = self.group(path)
            if group is None or name not in group.attrs:
                return None
            if group.attrs.get_id(name).shape != ():
                raise self._odd(name, "one text")
            return self._text(group.attrs[name], name)

    def names(self, path: str, name: str) -> list[str] | None:
        """An attribute of a group that lists names; a long one is kept in parts, `name0` and so on.

        Raises:
            ModelError: It holds something else.
        """
        with damage_told(self.path, f"its attribute {name}"):
            group = self.group(path)
            if group is None:
                return None
            keys = [name] if name in group.attrs else []
            keys = keys or [key for index in range(_PARTS) if (key := f"{name}{index}") in group.attrs]
            found: list[str] = []
            for key in keys:
                shape = group.attrs.get_id(key).shape
                # Keras 3 writes an empty list as numbers.
                if len(shape or ()) != 1 or shape[0] > _MAX_NAMES:
                    raise self._odd(key, "a list of names")
                found.extend(self._text(item, key) for item in group.attrs[key])
            return found if keys else None

    def _text(self, value: Any, name: str) -> str:
        try:
            return value.decode() if isinstance(value, bytes) else self._plain(value, name)
        except UnicodeError as error:
            raise self._odd(name, "UTF-8") from error

    def _plain(self, value: Any, name: str) -> str:
        if not isinstance(value, str):
            raise self._odd(name, "text")
        # Bytes that are no UTF-8 come as lone surrogates.
        value.encode()
        return value

    def _odd(self, name: str, wanted: str) -> ModelError:
        return ModelError(f"{self.path}: its attribute {name} does not hold {wanted}; save the model again")
