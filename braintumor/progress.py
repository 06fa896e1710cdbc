"""Progress of long jobs: reported as values, drawn on standard error."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import click

from braintumor.command import in_options

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["Note", "ProgressCallback", "Step", "StepDisplay", "silent"]


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


class StepDisplay:
    """Shows steps on standard error: a bar with a clock at a terminal, one line a job elsewhere.

    A context manager.
    """

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._job = ""
        self._bar: Progress | None = None
        self._task: Any = None

    def __enter__(self) -> Self:
        """Begin; nothing is shown before the first step."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away."""
        self.clear()

    def show(self, event: Step | Note) -> None:
        """Show a step, or at a terminal a note."""
        if isinstance(event, Step):
            self._show_step(event)
        elif self._terminal:
            self.write(event.text)

    def write(self, line: str) -> None:
        """Write a line, dimmed at a terminal; the bar is back with the next step."""
        self.clear()
        click.secho(in_options(line), err=True, dim=True)

    def _show_step(self, step: Step) -> None:
        if step.job != self._job:
            self.clear()
            self._job = step.job
            click.echo(f"{in_options(step.job)} …", err=True)
        if not self._terminal:
            return
        if self._bar is None:
            self._bar = _bar()
            self._bar.start()
            self._task = self._bar.add_task("")
        self._bar.update(self._task, description=step.title, completed=step.number - 1, total=step.total)

    def clear(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _bar() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)
