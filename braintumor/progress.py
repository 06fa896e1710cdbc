"""Progress of long jobs: reported as values, drawn on standard error."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

import click

from braintumor.command import in_options

if TYPE_CHECKING:
    import rich.progress

__all__ = ["Note", "Progress", "ProgressCallback", "ProgressDisplay", "Step", "silent"]


@dataclass(frozen=True, slots=True)
class Step:
    """A step that begins.

    Attributes:
        job: The job of all steps, with about how long it takes; shown once.
        title: Of the step.
        number: Of the step, from 1.
        total: Number of steps of the job.
    """

    job: str
    title: str
    number: int
    total: int


@dataclass(frozen=True, slots=True)
class Note:
    """A finding that a person may want to know."""

    text: str


ProgressCallback = Callable[[Step | Note], object]
"""Called with every step as it begins, and with notes."""


def silent(_: Step | Note) -> None:
    """Report nothing."""


class Progress(Protocol):
    """Is called while something takes long."""

    def begin(self, title: str, total: int | None = None) -> None:
        """A step begins; `total` is the number of its parts, None where that is not known."""
        ...

    def tick(self, count: int = 1) -> None:
        """Parts of the step are done."""
        ...


class ProgressDisplay:
    """Shows progress on standard error: at a terminal a bar with a clock, elsewhere one line a job.

    A context manager.
    """

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._job = ""
        self._bar: rich.progress.Progress | None = None
        self._task: Any = None

    def __enter__(self) -> Self:
        """Nothing is shown before the first step."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away."""
        self.clear()

    def begin(self, title: str, total: int | None = None) -> None:
        """Show a step that begins; a spinner where `total` is None."""
        if not self._terminal:
            return
        if self._bar is None:
            self._bar = _bar()
            self._bar.start()
        else:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(in_options(title), total=total)

    def tick(self, count: int = 1) -> None:
        """Advance the bar."""
        if self._bar is not None:
            self._bar.advance(self._task, count)

    def show(self, event: Step | Note) -> None:
        """Show a step of a job, or at a terminal a note."""
        if isinstance(event, Note):
            if self._terminal:
                self.write(event.text)
            return
        if event.job != self._job:
            self._job = event.job
            with self.hidden():
                click.echo(f"{in_options(event.job)} …", err=True)
        self.begin(event.title, event.total)
        self.tick(event.number - 1)

    def write(self, line: str, *, dim: bool = True) -> None:
        """Write a line beside the bar."""
        with self.hidden():
            click.secho(in_options(line), err=True, dim=dim)

    @contextlib.contextmanager
    def hidden(self) -> Iterator[None]:
        """Hide the bar while something is printed."""
        if self._bar is not None:
            self._bar.stop()
        yield
        if self._bar is not None:
            self._bar.start()

    def clear(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _bar() -> "rich.progress.Progress":
    import rich.console
    import rich.progress

    columns = (
        rich.progress.SpinnerColumn(),
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(bar_width=20),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeElapsedColumn(),
    )
    return rich.progress.Progress(*columns, console=rich.console.Console(stderr=True), transient=True)
