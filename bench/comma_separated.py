"""An option with several values, separated by commas."""

from typing import Any

import click

__all__ = ["CommaSeparated"]


class CommaSeparated(click.ParamType[Any]):
    """A tuple of int or str, such as "1,8,32"."""

    name = "list"

    def __init__(self, convert: type) -> None:
        self._convert = convert

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Split a text; a default that is a tuple is returned as it is."""
        if not isinstance(value, str):
            return value
        try:
            return tuple(self._convert(part.strip()) for part in value.split(",") if part.strip())
        except ValueError as error:
            self.fail(f"{value!r} is not a list of {self._convert.__name__} with commas ({error})", param, ctx)
