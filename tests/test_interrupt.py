"""Ctrl-C ends a command wherever Python first raises it: also where it drops it, or makes another exception of it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from braintumor.files import atomic_text
from braintumor.interrupt import check_interrupt, interrupted, keep_interrupts
from braintumor.optional import import_without_telemetry

# A command that loses an interrupt and then works for up to a minute, or is done at once.
_COMMAND = """
import time, weakref
from pathlib import Path
import click
from signal import SIGINT, raise_signal
from braintumor.command import Command
from braintumor.errors import UnavailableError
from braintumor.files import atomic_text

class Finalised:
    def __del__(self):
        raise_signal(SIGINT)

class Watched:
    pass

def finaliser():
    Finalised()

def callback():
    watched = Watched()
    reference = weakref.ref(watched, lambda _: raise_signal(SIGINT))
    del watched

def generator():
    def made():
        try:
            yield
        finally:
            raise_signal(SIGINT)
    next(made())

def swallowed():
    try:
        raise_signal(SIGINT)
    except BaseException:
        pass

def error():
    try:
        raise_signal(SIGINT)
    except KeyboardInterrupt as cause:
        raise UnavailableError("a library does not load") from cause

@click.command(cls=Command)
@click.argument("where")
@click.argument("file")
@click.argument("seconds", type=float)
def command(where, file, seconds):
    with atomic_text(Path(file)) as stream:
        stream.write("new")
        globals()[where]()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.001)

command()
"""
_LINE = "Error: interrupted; files that were being written are as they were before\n"


@pytest.mark.parametrize("seconds", [60, 0])
@pytest.mark.parametrize("where", ["finaliser", "callback", "generator", "swallowed", "error"])
def test_keep_interrupts_raises_a_lost_interrupt_again(tmp_path: Path, where: str, seconds: int) -> None:
    out = tmp_path / "out.txt"
    out.write_text("old", encoding="utf-8")
    command = [sys.executable, "-P", "-c", _COMMAND, where, str(out), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", _LINE)
    assert out.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_command_exits_with_130_when_interrupted_while_options_are_read(tmp_path: Path) -> None:
    source = _COMMAND.replace('@click.argument("where")', '@click.argument("where", callback=lambda *_: swallow())')
    source = source.replace("@click.command(", "def swallow():\n    raise_signal(SIGINT)\n\n@click.command(")
    command = [sys.executable, "-P", "-c", source, "finaliser", str(tmp_path / "x"), "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (130, _LINE)
    assert list(tmp_path.iterdir()) == []


def test_check_interrupt_lets_a_handler_write(tmp_path: Path) -> None:
    with keep_interrupts():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            with atomic_text(tmp_path / "kept.json") as stream:
                stream.write("until then")
        with pytest.raises(KeyboardInterrupt):
            check_interrupt()
    assert (tmp_path / "kept.json").read_text(encoding="utf-8") == "until then"


def test_keep_interrupts_forgets_at_the_end_of_the_block() -> None:
    before = sys.unraisablehook
    with keep_interrupts(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert not interrupted()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert sys.unraisablehook is before
    check_interrupt()


def test_keep_interrupts_leaves_a_foreign_handler() -> None:
    seen: list[int] = []

    def own(number: int, _frame: object) -> None:
        seen.append(number)

    before = signal.signal(signal.SIGINT, own)
    try:
        with keep_interrupts():
            signal.raise_signal(signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.SIGINT]
    assert not interrupted()


def test_import_without_telemetry_raises_an_interrupt_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As pybind11 reports whatever is raised while a module is made.
    (tmp_path / "broken_off.py").write_text(
        "try:\n    raise KeyboardInterrupt\nexcept BaseException as error:\n"
        "    raise ImportError('initialization failed') from error\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        import_without_telemetry("broken_off")
