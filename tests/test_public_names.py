"""Every module has a docstring and lists its public names; every error has the exit code of the drawn tree."""

import ast
import inspect
import re

import braintumor
from braintumor import errors
from tests.support.paths import ROOT

FOLDERS = ("braintumor", "bench", "export", "models", "runtime", "training")
MODULES = sorted(path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def parse(module: str) -> ast.Module:
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


def test_every_module_has_a_docstring() -> None:
    assert len(MODULES) > 100
    assert [module for module in MODULES if not ast.get_docstring(parse(module))] == []


def test_all_lists_the_public_names_of_every_module() -> None:
    problems = {module: problem for module in MODULES if (problem := problem_with_all(parse(module)))}
    assert problems == {}


def problem_with_all(tree: ast.Module) -> str:
    """Why `__all__` of a module is wrong; "" where it is right."""
    names = listed(tree)
    # A script under bench/ has no public names: it is run.
    is_script = any(isinstance(node, ast.If) and "__main__" in ast.unparse(node.test) for node in tree.body)
    if names is None:
        return "" if is_script or not defined(tree) else "it has none"
    if len(names) != len(set(names)):
        return "a name is listed twice"
    if missing := set(names) - defined(tree) - {alias.asname or alias.name for alias in imported(tree)}:
        return f"it lists {missing}, which are not there"
    commands = {name for name in classes_and_functions(tree) if is_command(tree, name)}
    unlisted = classes_and_functions(tree) - commands - ({"main"} if is_script else set()) - set(names)
    return f"it does not list {unlisted}" if unlisted else ""


def test_problem_with_all_finds_each_fault() -> None:
    assert problem_with_all(ast.parse('__all__ = ["a", "b"]\nfrom x import b\ndef a(): ...')) == ""
    assert problem_with_all(ast.parse("def a(): ...")) == "it has none"
    assert "twice" in problem_with_all(ast.parse('__all__ = ["a", "a"]\ndef a(): ...'))
    assert "'b'" in problem_with_all(ast.parse('__all__ = ["a", "b"]\ndef a(): ...'))
    assert "'b'" in problem_with_all(ast.parse('__all__ = ["a"]\ndef a(): ...\ndef b(): ...'))


def imported(tree: ast.Module) -> list[ast.alias]:
    """Imports at the top level, and those for the type checker."""
    body = [inner for node in tree.body for inner in (node.body if isinstance(node, ast.If) else [node])]
    return [alias for node in body if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names]


def is_command(tree: ast.Module, name: str) -> bool:
    """A click command is reached through its module's main()."""
    node = next(n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == name)
    return any("command" in ast.unparse(decorator) for decorator in node.decorator_list)


def test_braintumor_has_all_names_that_it_lists() -> None:
    for name in braintumor.__all__:
        assert getattr(braintumor, name)


def test_errors_are_as_the_docstring_draws_them() -> None:
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
