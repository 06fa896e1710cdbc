"""Shared by all commands: errors as one line with an exit code, --debug, Ctrl-C.

The library names parameters, between backquotes, as in "try a smaller `batch_size`". A command knows which of its
options sets which parameter, and shows "try a smaller --batch-size".
"""

import contextlib
import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Final

import click

from braintumor import NOTICE, __version__
from braintumor.errors import BraintumorError
from braintumor.interrupt import has_default_handler, interrupted, keep_interrupts
from braintumor.optional import missing_package

__all__ = [
    "EPILOG",
    "Command",
    "debug_option",
    "in_options",
    "options_of",
    "require_signature_option",
    "version_option",
]

EPILOG = (
    "Exit codes: 0 success, 1 internal error, 2 usage, 3 some inputs failed, 4 integrity, 5 engine unavailable, "
    f"130 interrupted, 141 broken pipe, 143 terminated. {NOTICE}"
)

_INTERRUPTED = 130
# A shell's status of a program that a closed pipe ended: 128 + SIGPIPE.
_BROKEN_PIPE = 141
# 128 + SIGTERM.
_TERMINATED = 143

debug_option = click.option("--debug", is_flag=True, help="Show the traceback of an error.")
version_option = click.version_option(__version__, prog_name="braintumor")
require_signature_option = click.option(
    "--require-signature",
    "public_key",
    metavar="PUBKEY",
    type=click.Path(path_type=Path),
    help="Read no bundle that is not signed with this key, a PEM file.",
)


_QUOTES: Final = "'\""
# `name` or `name=value`, as the library writes parameters.
_PARAMETER: Final = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]*))?`")


class Command(click.Command):
    """A click command that takes `--debug` and reports our errors in one line, with their exit codes.

    Attributes:
        sets: Parameter of the library → the command's parameter that sets it, where the two have different names.
    """

    def __init__(self, *args: Any, sets: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sets = dict(sets or {})

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line; see `click.Command.main`."""
        with keep_interrupts(), _terminate_cleanly():
            return super().main(*args, **kwargs)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the options; see `click.Command.make_context`."""
        with _one_line_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; see `click.Command.invoke`."""
        debug = ctx.params.pop("debug", False)
        # Pillow warns of oddities in metadata; they concern no pixel, and would break up a table.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        with _one_line_errors():
            try:
                return super().invoke(ctx)
            except (BraintumorError, ModuleNotFoundError) as error:
                if interrupted():
                    # An interrupted call may look like a failure.
                    raise KeyboardInterrupt from error
                reported = error if isinstance(error, BraintumorError) else missing_package(error)
                if reported is None:
                    raise
                if debug:
                    traceback.print_exception(error)
                raise _Failure(in_options(str(reported)), reported.exit_code) from error


def options_of(command: click.Command) -> dict[str, str]:
    """Parameter of the library → the option of a command that sets it."""
    options = {
        parameter.name: parameter.opts[0]
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.name
    }
    sets = command.sets if isinstance(command, Command) else {}
    return options | {name: options[parameter] for name, parameter in sets.items()}


def in_options(text: str, command: click.Command | None = None) -> str:
    """A message of the library with the options of a command in the place of parameters.

    Args:
        text: Such as "try a smaller `batch_size`, or use `engine='onnxruntime-cpu'`".
        command: None for the one that runs.

    Returns:
        Such as "try a smaller --batch-size, or use --engine onnxruntime-cpu"; what no option sets, as plain words.
    """
    context = click.get_current_context(silent=True)
    command = command or (context.command if context else None)
    options = options_of(command) if command else {}

    def replace(match: re.Match[str]) -> str:
        name, value = match[1], match[2]
        option = options.get(name, name.replace("_", " "))
        if value == "False" and name in options:
            return option.replace("--", "--no-", 1)
        return option if value in {None, "True"} else f"{option} {value.strip(_QUOTES)}"

    return _PARAMETER.sub(replace, text)


@contextlib.contextmanager
def _terminate_cleanly() -> Iterator[None]:
    """On SIGTERM, remove half-written files first; a program with a handler of its own keeps it."""
    if not has_default_handler(signal.SIGTERM, signal.SIG_DFL):
        yield
        return

    def end(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(_TERMINATED)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    """An interrupt becomes one line and its exit code; an output that nobody reads any more, an exit code."""
    try:
        yield
    except BrokenPipeError as error:
        # The reader has closed the pipe, as `head` does. What Python would still flush at its end goes nowhere.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(_BROKEN_PIPE) from error
    except KeyboardInterrupt as error:
        state = str(error) or "files that were being written are as they were before"
        raise _Failure(f"interrupted; {state}", _INTERRUPTED) from error


class _Failure(click.ClickException):
    """One line on standard error, and the exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(" ".join(message.split("\n")))
        self.exit_code = exit_code  # type: ignore[misc]  # click declares it for the class, reads it of the instance
