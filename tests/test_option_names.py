"""The library names parameters, in messages and remedies; only command lines name options, or whole commands."""

import ast
import re

import pytest

from tests.support.paths import ROOT

_FOLDERS = ("braintumor", "models", "runtime", "bench", "export", "training")
_SCRIPTS = ROOT / "bench" / "perf"
# Declare options, write lines for the terminal, or are scripts.
_COMMAND_LINES = frozenset(
    {"bundle_lines.py", "cli.py", "command.py", "gpu_recipe.py", "options.py", "render.py", "throughput.py"}
)
# Verdicts say how to export again.
_VERDICTS = frozenset({"class_advice.py", "findings.py"})
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
_OTHER_COMMANDS = (
    "pip install",
    "--extra-index-url",
    "--query-gpu=",
    "--format=csv",
    "--upgrade",
    "bt-export --bundle ",
    "--benchmark-json",
    "bt-bench latency",
    "bt-bundle sign --key ",
)


def options_named(source: str) -> list[int]:
    """Lines of the strings that name an option of a command; documentation may."""
    tree = ast.parse(source)
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
        if _OPTION.search(node.value) and not any(text in node.value for text in _OTHER_COMMANDS)
    ]


def test_library_names_no_options() -> None:
    files = [path for folder in _FOLDERS for path in (ROOT / folder).rglob("*.py")]
    others = _COMMAND_LINES | _VERDICTS
    library = [path for path in files if path.name not in others and _SCRIPTS not in path.parents]
    assert len(library) > 100
    places = [f"{path}:{line}" for path in library for line in options_named(path.read_text(encoding="utf-8"))]
    assert not places, f"write `parameter` instead, a command line puts its option there: {', '.join(places)}"


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('raise E(f"{path} is wrong; try --batch-size 8")', [1]),
        ('"""Says --size."""\nx = "`size`"', []),
        ('x = "pip install --upgrade x"', []),
        ('x = ("a",\n"--vote")', [2]),
    ],
)
def test_options_named_finds_options(source: str, lines: list[int]) -> None:
    assert options_named(source) == lines
