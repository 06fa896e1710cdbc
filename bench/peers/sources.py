"""The `.keras` files that a bundle was exported from, found by their hash."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import braintumor.models
from braintumor.errors import UnavailableError
from braintumor.runtime.bundle import Bundle, Member
from braintumor.runtime.files import sha256_of

__all__ = ["keras_sources"]

_SHIPPED: Final = Path(braintumor.models.__file__).parent / "pretrained"


def keras_sources(bundle: Bundle, folders: Sequence[Path]) -> tuple[Path, ...]:
    """One file a member, in the bundle's order.

    Args:
        bundle: Its entries name each source and its SHA-256.
        folders: Searched recursively; what ships with this package is searched last.

    Raises:
        UnavailableError: One is in none of them.
    """
    return tuple(_source(member, [*folders, _SHIPPED]) for member in bundle.members)


def _source(member: Member, folders: Sequence[Path]) -> Path:
    wanted = member.details["source"]["sha256"]
    for path in _likely_first(folders, member.details["source"]["file"]):
        if sha256_of(path) == wanted:
            return path
    searched = ", ".join(str(folder) for folder in folders)
    raise UnavailableError(
        f"the model that {member.name} was exported from, {member.details['source']['file']} with SHA-256 "
        f"{wanted[:16]}…, is not in {searched}; name its folder with --models DIR"
    )


def _likely_first(folders: Sequence[Path], name: str) -> Iterator[Path]:
    found = [path.absolute() for folder in folders for path in sorted(folder.rglob("*.keras")) if path.is_file()]
    yield from (path for path in found if path.name == name)
    yield from (path for path in found if path.name != name)
