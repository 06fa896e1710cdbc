"""What was measured once on this machine is looked up the next time."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from braintumor import __version__
from braintumor.cache import cached, content_key, discard
from braintumor.errors import OutputError

__all__ = ["forget", "remembered"]

_FILE: Final = "found.json"


def remembered(kind: str, parts: Mapping[str, object], find: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """What `find` gave when it was last asked under the same circumstances.

    An entry that is damaged is found again; without a usable cache everything is.

    Args:
        kind: A name for findings of one sort, such as "engine-choice".
        parts: All that it depends on.
        find: Gives plain data. When it raises, nothing is kept.
    """
    found: Mapping[str, Any] | None = None

    def build(folder: Path) -> None:
        nonlocal found
        found = find()
        (folder / _FILE).write_text(json.dumps(found), encoding="utf-8")

    try:
        entry = cached(kind, _key(parts), build)
        if found is None:
            found = json.loads((entry / _FILE).read_bytes())
    except OutputError:
        # No place to keep it, which costs time only.
        if found is None:
            found = find()
    return found


def forget(kind: str, parts: Mapping[str, object]) -> None:
    """Let `remembered` find it again."""
    discard(kind, _key(parts))


def _key(parts: Mapping[str, object]) -> str:
    return content_key({"version": __version__, **parts})
