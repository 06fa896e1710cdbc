"""Public names of a room, imported at their first use: a command's `--help` must not load what it does not need."""

import importlib
from collections.abc import Callable
from typing import Any

__all__ = ["lazy_getattr"]


def lazy_getattr(room: str, **names: tuple[str, ...]) -> Callable[[str], Any]:
    """The `__getattr__` of a room's `__init__.py`.

    Args:
        room: The package, its `__name__`.
        names: Module of the room → public names that it has; none may be a module's.
    """
    modules = {name: module for module, public in names.items() for name in public}

    def attribute(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{room}.{modules[name]}"), name)

    return attribute
