"""`bt-bench`: accuracy and speed of deployed bundles."""

from collections.abc import Mapping
from importlib import import_module

import click

from braintumor.command import EPILOG, Group, version_option

__all__ = ["COMMANDS", "main"]

COMMANDS: Mapping[str, str] = {
    "accuracy": "braintumor.bench.accuracy.cli:accuracy",
    "compare": "braintumor.bench.compare.cli:compare",
    "latency": "braintumor.bench.latency.cli:latency",
    "report": "braintumor.bench.report.cli:report",
}
"""Command → "module:attribute". To add one, add a line."""


class _Group(Group):
    """A group that imports the module of a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click gives it
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click gives it
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(cls=_Group, epilog=EPILOG)
@version_option
def main() -> None:
    """Judge bundles: what they decide beside a reference, and how fast."""
