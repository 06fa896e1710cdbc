"""The shape of the code as figures; ends with 1 where a limit is exceeded.

    python .ci/structure.py

`make check` runs it. Layers are import-linter's: see pyproject.toml.
"""

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CODE = ("braintumor", "models", "runtime", "bench", "export", "training")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

# fmt: off
VAGUE_NAMES = frozenset({
    "found", "one", "asked", "told", "judged", "given", "wanted", "said", "lot", "Told", "Judged",
    "Judgement", "Contender", "Kept", "Complaints", "unanswered", "library_calls", "Reading", "Lane",
    "rung", "ladder", "Halving", "quietly_imported", "raise_if_lost", "sniff", "astray",
    "sick_called_healthy", "healthy_called_sick",
})
# fmt: on
"""Names that do not say what a thing is; ARCHITECTURE.md's glossary has the terms to use."""

FREE_MAPPINGS, MAX_FREE_MAPPINGS = "Mapping[str, Any]", 106
"""Plain data without a type: for decoders and for what Keras and other libraries give."""


def sources(folders: tuple[str, ...]) -> list[Path]:
    """Return the Python files below some folders."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield every name that a module gives to something, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name.lstrip("_"), node.lineno


def problems(place: str, text: str) -> Iterator[str]:
    """Yield what a module has against the limits, a line each; `place` is its path."""
    if (count := text.count("\n")) > MAX_FILE_LINES:
        yield f"{place}: {count} lines, must be <= {MAX_FILE_LINES}"
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield f"{place}:{node.lineno}: {node.name} has {length} lines, must be <= {MAX_FUNCTION_LINES}"
    for name, line in names(tree):
        if name in VAGUE_NAMES:
            yield f"{place}:{line}: {name!r} does not say what it is"


def main() -> int:
    """Print the figures and what exceeds a limit."""
    code, tests = ({path: path.read_text("utf-8") for path in sources(part)} for part in (CODE, ("tests",)))
    lines = {path.relative_to(ROOT).as_posix(): text.count("\n") for path, text in code.items()}
    longest = max(lines, key=lines.__getitem__)
    mappings = sum(text.count(FREE_MAPPINGS) for text in code.values())
    figures = [
        f"code: {len(lines)} files in {len({path.parent for path in code})} rooms, {sum(lines.values())} lines",
        f"lines of a file: median {statistics.median(lines.values()):.0f}, longest {lines[longest]} ({longest})",
        f"{FREE_MAPPINGS}: {mappings}, must be <= {MAX_FREE_MAPPINGS}",
        f"tests: {len(tests)} files, {sum(text.count(chr(10)) for text in tests.values())} lines",
    ]
    exceeded = [
        line for path, text in (code | tests).items() for line in problems(path.relative_to(ROOT).as_posix(), text)
    ]
    sys.stdout.write("\n".join([*figures, *exceeded, ""]))
    return 1 if exceeded or mappings > MAX_FREE_MAPPINGS else 0


if __name__ == "__main__":
    sys.exit(main())
