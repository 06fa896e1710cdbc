"""Scripts of `.ci/`, as modules: they belong to no package."""

import importlib.util
from types import ModuleType

from tests.support.paths import ROOT


def ci_script(name: str) -> ModuleType:
    """Run a script's definitions, and return them as a module."""
    specification = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
