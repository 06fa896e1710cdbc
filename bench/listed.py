"""An option that takes several values with commas between them."""

from typing import Any

import click

__all__ = ["Listed"]


class Listed(click.ParamType[Any]):
    """Such as "1,8,32": a tuple of int or str."""

    name = "list"

    def __init__(self, convert: type) -> None:
        self._convert = convert

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Split a text; what is split already stays."""
        if not isinstance(value, str):
            return value
        try:
            return tuple(self._convert(part.strip()) for part in value.split(",") if part.strip())
        except ValueError as error:
            self.fail(f"{value!r} is no list of {self._convert.__name__} with commas ({error})", param, ctx)
