"""The model files that a bundle was exported from, found by their hash."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import braintumor.models
from braintumor.errors import UnavailableError
from braintumor.files import sha256_of
from braintumor.runtime.bundle.load import Bundle, Member

__all__ = ["keras_sources", "origin_of"]

_SUFFIXES: Final = frozenset({".keras", ".h5", ".hdf5"})
_SHIPPED: Final = Path(braintumor.models.__file__).parent / "pretrained"


def keras_sources(bundle: Bundle, folders: Sequence[Path]) -> tuple[Path, ...]:
    """One file a member, in the bundle's order.

    Args:
        bundle: Its entries name each source and its SHA-256.
        folders: Searched recursively; what ships with this package is searched last.

    Raises:
        UnavailableError: One is in none of them, or a member does not say what it was exported from.
    """
    return tuple(_source(member, [*folders, _SHIPPED]) for member in bundle.members)


def origin_of(member: Member) -> Mapping[str, Any]:
    """What a member says of the `.keras` file that it was exported from.

    Raises:
        UnavailableError: Nothing: it was made by something else than `bt-export`.
    """
    origin: Mapping[str, Any] = member.details["source"]
    if "sha256" not in origin:
        raise UnavailableError(
            f"{member.name} does not say which .keras file it was exported from, so that Keras cannot be asked",
            "name another bundle as `reference`, or use `reference='none'`",
        )
    return origin


def _source(member: Member, folders: Sequence[Path]) -> Path:
    origin = origin_of(member)
    wanted = origin["sha256"]
    for path in _likely_first(folders, origin["file"]):
        if sha256_of(path) == wanted:
            return path
    searched = ", ".join(str(folder) for folder in folders)
    raise UnavailableError(
        f"the model that {member.name} was exported from, {origin['file']} with SHA-256 "
        f"{wanted[:16]}…, is not in {searched}",
        "name its folder with `models`",
    )


def _likely_first(folders: Sequence[Path], name: str) -> Iterator[Path]:
    everything = [path for folder in folders for path in sorted(folder.rglob("*"))]
    found = [path.absolute() for path in everything if path.suffix.lower() in _SUFFIXES and path.is_file()]
    yield from (path for path in found if path.name == name)
    yield from (path for path in found if path.name != name)
