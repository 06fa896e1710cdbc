"""Progress on standard error, at a terminal and elsewhere."""

import io
from collections.abc import Callable
from typing import Any

import pytest

from braintumor.progress import Note, ProgressDisplay, Step


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _terminal(monkeypatch: pytest.MonkeyPatch) -> _Terminal:
    stream = _Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return stream


def _whole_job(display: ProgressDisplay) -> None:
    display.begin("reading", 3)
    display.tick()
    display.show(Step("a job", "its step", 1, 2))
    display.show(Note("by the way"))
    display.write("a line")
    display.begin("no number is known")


def test_progress_display_draws_steps_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)
    with ProgressDisplay() as display:
        _whole_job(display)
    text = terminal.getvalue()
    for part in ("reading", "its step", "a job …", "by the way", "a line", "no number is known", "0/2"):
        assert part in text


def test_progress_display_writes_jobs_and_lines_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressDisplay() as display:
        _whole_job(display)
        display.show(Step("a job", "its second step", 2, 2))
    assert capsys.readouterr().err == "a job …\na line\n"


@pytest.mark.parametrize("change", [lambda display: display.tick(), lambda display: display.clear()])
def test_progress_display_takes_calls_before_the_first_step(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[ProgressDisplay], Any]
) -> None:
    terminal = _terminal(monkeypatch)
    with ProgressDisplay() as display:
        change(display)
    assert terminal.getvalue() == ""
