"""The `.keras` files that a bundle was exported from, found by their hash."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import braintumor.models
from braintumor.errors import UnavailableError
from braintumor.files import sha256_of
from braintumor.runtime.bundle.load import Bundle, Member

__all__ = ["keras_sources", "member_origin"]

_SUFFIXES: Final = frozenset({".keras", ".h5", ".hdf5"})
_SHIPPED: Final = Path(braintumor.models.__file__).parent / "pretrained"


def keras_sources(bundle: Bundle, folders: Sequence[Path]) -> tuple[Path, ...]:
    """Find the `.keras` file of each member, in the bundle's order.

    Args:
        bundle: A bundle whose entries name each file and its SHA-256.
        folders: Folders to search recursively; the models of this package are searched last.

    Raises:
        UnavailableError: A file is in none of them, or a member does not name its file.
    """
    return tuple(_source(member, [*folders, _SHIPPED]) for member in bundle.members)


def member_origin(member: Member) -> Mapping[str, Any]:
    """The entry of a member about the `.keras` file that it was exported from.

    Raises:
        UnavailableError: It has none, because it was not written by `bt-export`.
    """
    origin: Mapping[str, Any] = member.details["source"]
    if "sha256" not in origin:
        raise UnavailableError(
            f"{member.name} does not say which .keras file it was exported from, so that Keras cannot be asked",
            "name another bundle as `reference`, or use `reference='none'`",
        )
    return origin


def _source(member: Member, folders: Sequence[Path]) -> Path:
    origin = member_origin(member)
    sha256 = origin["sha256"]
    for path in _same_name_first(folders, origin["file"]):
        if sha256_of(path) == sha256:
            return path
    searched = ", ".join(str(folder) for folder in folders)
    raise UnavailableError(
        f"the model that {member.name} was exported from, {origin['file']} with SHA-256 "
        f"{sha256[:16]}…, is not in {searched}",
        "name its folder with `models`",
    )


def _same_name_first(folders: Sequence[Path], name: str) -> Iterator[Path]:
    paths = [path for folder in folders for path in sorted(folder.rglob("*"))]
    models = [path.absolute() for path in paths if path.suffix.lower() in _SUFFIXES and path.is_file()]
    yield from (path for path in models if path.name == name)
    yield from (path for path in models if path.name != name)
