"""Commands started with standard streams that are closed or full work, or say so with the right exit code."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import BIN, ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a shell with /dev/full")

_MISSING = f"{BIN}/bt-infer missing.png --bundle missing"
# Writes an answer, a remark, and the number under which it opens a file.
_COMMAND = """
import os, sys
import click
from braintumor.command import Command

@click.command(cls=Command)
@click.argument("code", type=int)
def command(code):
    opened = os.open(os.devnull, os.O_RDONLY)
    click.echo("remark", err=True)
    click.echo(f"answer {opened > 2} {sys.stdin.read()!r}")
    sys.exit(code)

command()
"""


def run(command: str, redirections: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command of a shell, with its standard streams redirected."""
    shell = ["/bin/sh", "-c", f"{command} {redirections}"]
    return subprocess.run(shell, capture_output=True, text=True, timeout=120, check=False, cwd=folder)


@pytest.fixture
def program(tmp_path: Path) -> str:
    (tmp_path / "program.py").write_text(_COMMAND, encoding="utf-8")
    return f"{sys.executable} {tmp_path}/program.py"


@pytest.mark.parametrize("code", [0, 3])
@pytest.mark.parametrize("redirections", ["2>&-", "2>/dev/full", "<&-", "<&- 2>&-"])
def test_command_answers_without_standard_error_and_input(
    program: str, redirections: str, code: int, tmp_path: Path
) -> None:
    redirections += "" if "<" in redirections else " </dev/null"
    done = run(f"{program} {code}", redirections, tmp_path)
    assert (done.returncode, done.stdout) == (code, "answer True ''\n")
    assert done.stderr == ("" if "2>" in redirections else "remark\n")


@pytest.mark.parametrize("code", [0, 3])
@pytest.mark.parametrize("redirections", [">&-", ">/dev/full", "<&- >&-"])
def test_command_exits_with_2_where_its_answer_is_not_written(
    program: str, redirections: str, code: int, tmp_path: Path
) -> None:
    done = run(f"{program} {code}", redirections + " </dev/null" * ("<" not in redirections), tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 2)
    assert "standard output" in done.stderr


@pytest.mark.parametrize("redirections", ["2>&-", "2>/dev/full", "<&- >&- 2>&-"])
def test_command_keeps_its_exit_code_where_the_error_is_not_shown(redirections: str, tmp_path: Path) -> None:
    assert run(_MISSING, redirections, tmp_path).returncode == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("program_name", ["bt-infer", "bt-bench", "bt-data"])
@pytest.mark.parametrize("redirections", [">&-", ">/dev/full"])
def test_help_that_is_not_written_is_one_line(program_name: str, redirections: str, tmp_path: Path) -> None:
    done = run(f"{BIN}/{program_name} --help", redirections, tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    "program_name", ["bt-infer examples/scan.png", "bt-doctor", "bt-export", "bt-bench latency x"]
)
@pytest.mark.parametrize("limit_kb", [100_000, 200_000])
def test_command_says_that_its_memory_is_limited(program_name: str, limit_kb: int) -> None:
    done = run(f"ulimit -v {limit_kb}; {BIN}/{program_name}", "", ROOT)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (5, "", 1)
    assert "ulimit" in done.stderr
