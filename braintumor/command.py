"""What all commands share: errors as one line with the exit code of the contract, --debug, Ctrl-C."""

import contextlib
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator
from types import FrameType
from typing import Any

import click

from braintumor import NOTICE, __version__
from braintumor.errors import BraintumorError
from braintumor.interrupt import interrupted, interrupts_kept, is_free
from braintumor.optional import missing_package

__all__ = ["EPILOG", "Command", "debug_option", "version_option"]

EPILOG = (
    "Exit codes: 0 all well, 2 usage, 3 some inputs failed, 4 integrity, 5 engine unavailable, 1 a fault of "
    f"ours, 130 interrupted, 141 nobody read on, 143 terminated. {NOTICE}"
)

_INTERRUPTED = 130
# What a shell reports of a program that a closed pipe ended: 128 + SIGPIPE.
_UNREAD = 141
# 128 + SIGTERM.
_TERMINATED = 143

debug_option = click.option("--debug", is_flag=True, help="Show the traceback of an error.")
version_option = click.version_option(__version__, prog_name="braintumor")


class Command(click.Command):
    """A click command that takes `--debug` and reports our errors as the contract says."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line; see `click.Command.main`."""
        with interrupts_kept(), _ended_in_order():
            return super().main(*args, **kwargs)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the options; see `click.Command.make_context`."""
        with _told():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; see `click.Command.invoke`."""
        debug = ctx.params.pop("debug", False)
        # Pillow warns of oddities in metadata; they concern no pixel, and a table is no place for them.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        with _told():
            try:
                return super().invoke(ctx)
            except (BraintumorError, ModuleNotFoundError) as error:
                if interrupted():
                    # What an interrupt broke off may look like a fault.
                    raise KeyboardInterrupt from error
                told = error if isinstance(error, BraintumorError) else missing_package(error)
                if told is None:
                    raise
                if debug:
                    traceback.print_exception(error)
                raise _Failure(str(told), told.exit_code) from error


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """Told to end (SIGTERM), take away what is half-written first; a program with a handler of its own keeps it."""
    if not is_free(signal.SIGTERM, signal.SIG_DFL):
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
def _told() -> Iterator[None]:
    """An interrupt becomes one line and its exit code; an output that nobody reads any more, an exit code."""
    try:
        yield
    except BrokenPipeError as error:
        # The reader has seen enough, as `head` has. What Python would still flush at its end goes nowhere.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(_UNREAD) from error
    except KeyboardInterrupt as error:
        kept = str(error) or "files that were being written are as they were before"
        raise _Failure(f"interrupted; {kept}", _INTERRUPTED) from error


class _Failure(click.ClickException):
    """One line on standard error, and the exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(" ".join(message.split("\n")))
        self.exit_code = exit_code  # type: ignore[misc]  # click declares it for the class, reads it of the instance
