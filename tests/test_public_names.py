"""Every module says what it is and what it offers, and every error its exit code."""

import ast
import inspect
import re

import pytest

import braintumor
from braintumor import errors
from tests.support.paths import ROOT

FOLDERS = ("braintumor", "bench", "export", "models", "runtime", "training")
MODULES = sorted(path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def parsed(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"))


def defined(tree: ast.Module) -> set[str]:
    """Names that the module defines itself at its top level; imports are not counted."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
    return names


def listed(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            names: list[str] = ast.literal_eval(node.value)
            return names
    return None


def classes_and_functions(tree: ast.Module) -> set[str]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")}


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_docstring(module: str) -> None:
    assert ast.get_docstring(parsed(module))


@pytest.mark.parametrize("module", MODULES)
def test_all_lists_what_a_module_offers(module: str) -> None:
    tree = parsed(module)
    names = listed(tree)
    # A script under bench/ offers nothing: it is run.
    is_script = any(isinstance(node, ast.If) and "__main__" in ast.unparse(node.test) for node in tree.body)
    if names is None:
        assert is_script or not defined(tree), "define __all__"
        return
    assert len(names) == len(set(names))
    everything = defined(tree) | {alias.asname or alias.name for alias in imported(tree)}
    assert set(names) <= everything, "it lists what is not there"
    run_not_imported = {name for name in classes_and_functions(tree) if is_command(tree, name)}
    if is_script:
        run_not_imported.add("main")
    assert classes_and_functions(tree) - run_not_imported <= set(names), "public names that it does not list"


def imported(tree: ast.Module) -> list[ast.alias]:
    """What is imported at the top level, or there for the type checker and at its first use."""
    body = [inner for node in tree.body for inner in (node.body if isinstance(node, ast.If) else [node])]
    return [alias for node in body if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names]


def is_command(tree: ast.Module, name: str) -> bool:
    """A click command is reached through its module's main()."""
    node = next(n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == name)
    return any("command" in ast.unparse(decorator) for decorator in node.decorator_list)


def test_the_package_offers_what_it_lists() -> None:
    for name in braintumor.__all__:
        assert getattr(braintumor, name)


def test_the_drawn_tree_is_the_tree_and_the_exit_codes_are_those_drawn() -> None:
    assert errors.__doc__
    drawn = {name: int(code) for name, code in re.findall(r"(\w+Error) +(\d)  ", errors.__doc__)}
    real = {name: cls for name, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, Exception)}
    assert {name: cls.exit_code for name, cls in real.items()} == drawn
    assert set(errors.__all__) == set(real)
    above: dict[int, type] = {0: Exception}
    for indent, name in re.findall(r"^( {4}[ │├└─]*)(\w+Error) +\d  ", errors.__doc__, re.MULTILINE):
        depth = len(indent) // 4
        assert real[name].__bases__ == (above[depth - 1],), name
        assert real[name].__doc__
        above[depth] = real[name]
