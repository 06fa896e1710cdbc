"""`bt-bench`: is what was deployed still what was trained, and how fast is it?"""

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import click

from braintumor.command import EPILOG, version_option

__all__ = ["COMMANDS", "main"]

# Command → "module:function". Loaded when it is asked for: --help must not load NumPy.
COMMANDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "accuracy": "braintumor.bench.accuracy_cli:accuracy",
        "latency": "braintumor.bench.latency_cli:latency",
        "report": "braintumor.bench.report_cli:report",
        "compare": "braintumor.bench.compare_cli:compare",
    }
)


class _LazyGroup(click.Group):
    """A group whose commands are imported one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=_LazyGroup, epilog=EPILOG)
@version_option
def main() -> None:
    """Prove that a deployed ensemble decides what was trained, and measure how fast it is."""
