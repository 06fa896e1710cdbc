"""Every command and every Python block of README and the pages is true: it parses, and where it can, it runs."""

import ast
import configparser
import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from tests.support.paths import ROOT

from .pages import PAGES, Block, blocks

# Programs of others that the pages may use.
OTHERS = frozenset({"cp", "eval", "find", "git", "model_signing", "openssl", "python", "python3", "source"})


def names(page: Path) -> str:
    return page.name


def having(language: str) -> list[Path]:
    """The pages with blocks of that language that a test can run."""
    pages = {block.page for block in blocks(language) if block.reason is None}
    return [page for page in PAGES if page in pages]


def test_pages_show_commands_and_python_in_blocks_that_are_looked_at() -> None:
    assert len(list(blocks("sh"))) > 15
    assert len(list(blocks("python"))) > 5
    # Indented blocks, and fences without a language, would be passed over.
    for page in PAGES:
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            assert not re.match(r"    (bt-|pip |make )", line), f"{page.name}:{number}: use a fenced block"
            assert line.strip() != "```" or number > 1, f"{page.name}:{number}"


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_every_command_exists_with_its_options(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for block in blocks("sh"):
        if block.page == page:
            for command in block.commands():
                for part in command.replace("&&", "|").split("|"):
                    problem = wrong(shlex.split(part.split(">")[0]))
                    assert not problem, f"{page.name}:{block.line}: {part.strip()}: {problem}"


def wrong(words: list[str]) -> str:
    """What is not true of a command; empty when it is fine."""
    program, arguments = Path(words[0]).name, words[1:]
    if program == "make":
        targets = re.findall(r"^([\w.]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        named = [word for word in arguments if "=" not in word]
        return "" if set(named) <= set(targets) else "there is no such target"
    if program == "pip":
        known = setup()["options.extras_require"]
        extras = [name for group in re.findall(r"\[(.+?)\]", " ".join(arguments)) for name in group.split(",")]
        return "" if all(extra in known for extra in extras) else "there is no such extra"
    if program in {"python", "python3"} and arguments[0].endswith(".py"):
        return "" if (ROOT / arguments[0]).is_file() else "there is no such script"
    if program.startswith("bt-"):
        return refused(program, arguments)
    return "" if program in OTHERS else "not a program that the pages may use"


def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def refused(program: str, arguments: list[str]) -> str:
    """How the real command refuses the arguments while it reads them; files of the reader's may be missing."""
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name=program)
    command = entry.load()
    if not isinstance(command, click.Command):
        command = getattr(sys.modules[entry.module], program.removeprefix("bt-"))
    try:
        while isinstance(command, click.Group):
            context = click.Context(command)
            _, command, arguments = command.resolve_command(context, arguments)
        command.make_context(program, arguments, resilient_parsing=False)
    except click.exceptions.Exit:
        return ""
    except click.UsageError as error:
        return "" if "does not exist" in error.format_message() else error.format_message()
    return ""


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("bt-infer scan.png --engin openvino-cpu", "--engin"),
        ("bt-infer scan.png --engine openvino", "openvino"),
        ("bt-bench acuracy bundles/fp32", "acuracy"),
        ("make demmo", "target"),
        ("pip install '.[cpuu]'", "extra"),
        ("python bench/perf/gone.py", "script"),
        ("rm -rf /", "program"),
    ],
)
def test_a_wrong_command_is_noticed(line: str, part: str) -> None:
    assert part in wrong(shlex.split(line))


def test_every_python_block_is_python() -> None:
    for block in blocks("python"):
        ast.parse(block.text, f"{block.page.name}:{block.line}")


@pytest.mark.parametrize("page", having("python"), ids=names)
def test_every_python_block_runs(page: Path, sandbox: Path) -> None:
    """In the order of the page, in one process: what a block defines the next may use."""
    on_page = [block for block in blocks("python") if block.page == page]
    script = sandbox / "page.py"
    script.write_text("\n".join(block.text for block in on_page if block.reason is None), encoding="utf-8")
    done = subprocess.run([sys.executable, script], cwd=sandbox, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the blocks are for a POSIX shell")
@pytest.mark.parametrize("page", having("sh"), ids=names)
def test_every_block_of_commands_runs(page: Path, run: Callable[[str], subprocess.CompletedProcess[str]]) -> None:
    for block in blocks("sh"):
        if block.page == page and block.reason is None:
            for command in block.commands():
                if command.startswith("openssl") and shutil.which("openssl") is None:
                    pytest.skip("openssl is not installed")
                done = run(command)
                assert done.returncode in allowed(command), f"{page.name}:{block.line}: {command}\n{done.stderr}"


def allowed(command: str) -> set[int]:
    """Of a dozen phantoms nothing can be shown: bt-bench refuses, which is its exit code 3."""
    return {0, 3} if command.startswith(("bt-bench accuracy", "bt-bench report")) else {0}


def test_what_is_not_run_says_why() -> None:
    reasons = [block.reason for block in blocks("sh", "python") if block.reason is not None]
    assert all(len(reason.split()) >= 3 for reason in reasons), reasons
    assert all(isinstance(block, Block) for block in blocks("sh"))
