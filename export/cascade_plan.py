"""`cascades.json` beside the models: cascades that were chosen on images which an export need not have.

Each is bound to a vote: the model files by their hashes, what is done with their inputs and outputs, their weights,
precision and int8 plans. An export of this very vote takes it over.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from braintumor.cache import content_key
from braintumor.errors import IntegrityError
from braintumor.files import atomic_text
from braintumor.runtime.bundle.load import Bundle
from braintumor.runtime.cascade import CASCADES_FILE, Cascade, members_sha256, parse_cascade

__all__ = ["read_cascade", "save_cascade"]

_SCHEMA: Final = "braintumor.cascades/1"
_MEMBERS: Final = "members_sha256"


def read_cascade(folder: Path, bundle: Bundle) -> Cascade | None:
    """The cascade that was saved for the vote of a bundle; None where there is none.

    Args:
        folder: Of the models.
        bundle: Just written.

    Raises:
        IntegrityError: The file is there and is something else.
    """
    path = folder / CASCADES_FILE
    saved = _read(path).get(_vote_key(bundle))
    if saved is None:
        return None
    return parse_cascade({**saved, _MEMBERS: _members(bundle)}, bundle.details["members"], str(path))


def save_cascade(folder: Path, bundle: Bundle, cascade: Cascade) -> None:
    """Save a cascade for exports of the same vote; one that was there for this vote is replaced.

    Raises:
        IntegrityError: The file is there and is something else.
        OutputError: It cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CASCADES_FILE
    saved = {name: value for name, value in cascade.to_dict().items() if name != _MEMBERS}
    cascades = {**_read(path), _vote_key(bundle): {"precision": bundle.precision, **saved}}
    with atomic_text(path) as stream:
        json.dump({"schema": _SCHEMA, "cascades": dict(sorted(cascades.items()))}, stream, indent=1)
        stream.write("\n")


def _read(path: Path) -> Mapping[str, dict[str, object]]:
    """Key of a vote → its cascade."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_bytes())
        if content["schema"] != _SCHEMA:
            raise ValueError(f"schema {content['schema']!r}, known is {_SCHEMA!r}")  # noqa: TRY301 - as what follows
        return {str(key): dict(value) for key, value in content["cascades"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(
            f"{path} does not hold cascades ({type(error).__name__}: {error})",
            "remove it, or write it again with the options cascade and save_plans of bt-export",
        ) from error


def _vote_key(bundle: Bundle) -> str:
    """Key of everything that decides what a vote answers, but for the versions of the tools that wrote it."""
    total = sum(bundle.weights)
    members = [
        {
            "name": member.name,
            "share": round(member.weight / total, 9),
            "model": [member.details["source"][name] for name in ("sha256", "preprocess", "classes")],
            "geometry": [member.height, member.width, member.resize, member.crop],
            "precision": [member.precision, member.float_precision],
            "plan": (member.details.get("quantisation") or {}).get("plan_sha256"),
        }
        for member in sorted(bundle.members, key=lambda member: member.name)
    ]
    return content_key({"classes": bundle.classes, "members": members})


def _members(bundle: Bundle) -> str:
    return members_sha256([(member.sha256, member.weight) for member in bundle.members])
