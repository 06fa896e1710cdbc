"""The small network and the small pictures of `small.py`, as fixtures."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from braintumor.training.fit import distill, learner
from tests.support.images import real_images

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def small() -> ModuleType:
    """The module `small.py` next to this file."""
    spec = importlib.util.spec_from_file_location("braintumor_tests_small", HERE / "small.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def parts(small: ModuleType) -> Any:
    """Train, val and test of phantoms."""
    return small.small_parts()


@pytest.fixture
def small_network(small: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every backbone becomes a CNN of three layers; BatchNorm, Dropout and the loss are the real ones."""
    monkeypatch.setattr(learner, "build_classifier", small.build)
    monkeypatch.setattr(distill, "build_classifier", small.build)


@pytest.fixture(scope="session")
def shared_zip() -> Path:
    """The archive of the real images; skips where it is not."""
    return real_images()
