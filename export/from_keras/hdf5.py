"""HDF5 files from untrusted sources: nothing outside of the file is read, and damage is an error of one line."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from braintumor.errors import ModelError

__all__ = ["HDF5_MAGIC", "Hdf5Reader", "damage_as_error", "open_hdf5"]

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

    with damage_as_error(path, "it"):
        file = h5py.File(source, "r")
    with contextlib.closing(file):
        yield Hdf5Reader(path, file)


@contextlib.contextmanager
def damage_as_error(path: Path, part: str) -> Iterator[None]:
    """Turn what h5py raises on damaged bytes into one line.

    Args:
        path: Of the file.
        part: Of the file, as it is named in the message.

    Raises:
        ModelError: The block met damage.
    """
    try:
        yield
    except _DAMAGE as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path}: {part} is damaged ({reason})", "save or copy it again") from error


class Hdf5Reader:
    """Groups, datasets and attributes by name, each checked before it is opened.

    Attributes:
        path: For messages.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self.path = path
        self._groups: dict[str, Any] = {"": file}

    def group(self, path: str) -> Any:
        """A group that lies in this file; None where there is none.

        Raises:
            ModelError: The path leads through a link, or to something that is not a group.
        """
        import h5py

        if path not in self._groups:
            above, _, name = path.rpartition("/")
            parent = self.group(above)
            group = None if parent is None or name not in parent else self.member(parent, name)
            if group is not None and not isinstance(group, h5py.Group):
                raise ModelError(f"{self.path}: {path} in its weights is not a group", "save the model again")
            self._groups[path] = group
        return self._groups[path]

    def member(self, group: Any, name: str) -> Any:
        """A group or dataset inside a group; links are not followed.

        Raises:
            ModelError: It is a link.
        """
        import h5py

        if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise ModelError(
                f"{self.path}: {group.name}/{name} in its weights is a link to somewhere else, which is never "
                "followed",
                "save the model again with model.save('x.keras')",
            )
        return group[name]

    def text(self, path: str, name: str) -> str | None:
        """An attribute of a group that holds one text; None where there is none.

        Raises:
            ModelError: It holds something else.
        """
        with damage_as_error(self.path, f"its attribute {name}"):
            group = self.group(path)
            if group is None or name not in group.attrs:
                return None
            if group.attrs.get_id(name).shape != ():
                raise self._unfit(name, "one text")
            return self._text(group.attrs[name], name)

    def names(self, path: str, name: str) -> list[str] | None:
        """An attribute of a group that lists names; a long one is kept in parts, `name0` and so on.

        Raises:
            ModelError: It holds something else.
        """
        with damage_as_error(self.path, f"its attribute {name}"):
            group = self.group(path)
            if group is None:
                return None
            keys = [name] if name in group.attrs else []
            keys = keys or [key for index in range(_PARTS) if (key := f"{name}{index}") in group.attrs]
            names: list[str] = []
            for key in keys:
                shape = group.attrs.get_id(key).shape
                # Keras 3 writes an empty list as numbers.
                if len(shape or ()) != 1 or shape[0] > _MAX_NAMES:
                    raise self._unfit(key, "a list of names")
                names.extend(self._text(item, key) for item in group.attrs[key])
            return names if keys else None

    def _text(self, value: Any, name: str) -> str:
        try:
            return value.decode() if isinstance(value, bytes) else self._plain(value, name)
        except UnicodeError as error:
            raise self._unfit(name, "UTF-8") from error

    def _plain(self, value: Any, name: str) -> str:
        if not isinstance(value, str):
            raise self._unfit(name, "text")
        # Bytes that are no UTF-8 come as lone surrogates.
        value.encode()
        return value

    def _unfit(self, name: str, expected: str) -> ModelError:
        return ModelError(f"{self.path}: its attribute {name} does not hold {expected}", "save the model again")
