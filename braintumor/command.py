"""Shared by all commands: errors as one line with an exit code, --debug, signals, standard streams.

The library names parameters, between backquotes, as in "try a smaller `batch_size`". A command knows which of its
options sets which parameter, and shows "try a smaller --batch-size".
"""

import contextlib
import errno
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click

from braintumor import NOTICE, __version__
from braintumor.errors import BraintumorError, OutputError
from braintumor.interrupt import interrupted, interrupting_signal, keep_interrupts
from braintumor.memory import out_of_memory, require_memory
from braintumor.optional import missing_package
from braintumor.streams import discard_output, usable_streams

__all__ = [
    "EPILOG",
    "Command",
    "Group",
    "debug_option",
    "in_options",
    "options_of",
    "require_signature_option",
    "version_option",
]

EPILOG = (
    "Exit codes: 0 success, 1 internal error, 2 usage, 3 some inputs failed, 4 integrity, 5 engine unavailable, "
    f"129 terminal closed, 130 interrupted, 141 broken pipe, 143 terminated. {NOTICE}"
)

# A shell's status of a program that a signal ended is 128 and its number; of a closed pipe, 128 + SIGPIPE.
_BY_SIGNAL: Final = 128
_BROKEN_PIPE: Final = 141
_WORDS: Final = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "the terminal was closed"}

# Errors of writing to a stream that is closed, full or gone.
_UNWRITABLE: Final = frozenset(
    getattr(errno, name) for name in ("EBADF", "EDQUOT", "EFBIG", "EIO", "ENOSPC") if hasattr(errno, name)
)

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


class _Prepared(click.Command):
    """What commands and groups share: usable streams, and an interrupt as one line with its exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line; see `click.Command.main`."""
        with usable_streams(), keep_interrupts():
            return super().main(*args, **kwargs)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the options; see `click.Command.make_context`."""
        with _one_line_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; see `click.Command.invoke`."""
        with _one_line_errors():
            return super().invoke(ctx)


class Group(_Prepared, click.Group):
    """A click group of such commands."""


class Command(_Prepared):
    """A click command that takes `--debug` and reports our errors in one line, with their exit codes.

    Attributes:
        sets: Parameter of the library → the command's parameter that sets it, where the two have different names.
    """

    def __init__(self, *args: Any, sets: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sets = dict(sets or {})

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; see `click.Command.invoke`."""
        debug = ctx.params.pop("debug", False)
        # Pillow warns of oddities in metadata; they concern no pixel, and would break up a table.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            require_memory()
            return super().invoke(ctx)
        except click.ClickException:
            raise
        except Exception as error:
            reported = _reported(error)
            if reported is None:
                raise
            if debug:
                traceback.print_exception(error)
            raise _Failure(in_options(str(reported)), reported.exit_code) from error


def _reported(error: Exception) -> BraintumorError | None:
    """The error to report in one line; None for what is a defect of ours, or is no error."""
    if isinstance(error, click.exceptions.Exit | click.Abort):
        return None
    if lack := out_of_memory(error):
        return lack
    if isinstance(error, BraintumorError):
        return error
    return missing_package(error) if isinstance(error, ModuleNotFoundError) else None


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
def _one_line_errors() -> Iterator[None]:
    """An interrupt, and an output that cannot be written, become one line and an exit code."""
    try:
        try:
            yield
        except SystemExit:
            sys.stdout.flush()
            raise
        except click.ClickException:
            raise
        except Exception as error:
            if interrupted():
                # An interrupted call may look like a failure.
                raise KeyboardInterrupt from error
            raise
        # What Python would flush at its end, when it can no longer choose the exit code.
        sys.stdout.flush()
    except BrokenPipeError as error:
        # The reader has closed the pipe, as `head` does.
        discard_output()
        raise click.exceptions.Exit(_BROKEN_PIPE) from error
    except OSError as error:
        # Files are written by `braintumor.files`, which raises OutputError.
        if error.errno not in _UNWRITABLE or error.filename is not None:
            raise
        discard_output()
        reason = "it is closed" if error.errno == errno.EBADF else error.strerror
        message = f"standard output cannot be written ({reason})"
        raise _Failure(f"{message}; free some space, or send it elsewhere", OutputError.exit_code) from error
    except KeyboardInterrupt as error:
        number = signal.Signals(interrupting_signal() or signal.SIGINT)
        state = str(error) or "files that were being written are as they were before"
        raise _Failure(f"{_WORDS[number.name]}; {state}", _BY_SIGNAL + number) from error


class _Failure(click.ClickException):
    """One line on standard error, and the exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(" ".join(message.split("\n")))
        self.exit_code = exit_code  # type: ignore[misc]  # click declares it for the class, reads it of the instance
