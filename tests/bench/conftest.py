"""What the tests of bench share: small ensembles, exported by the real export from real Keras models."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from braintumor.export import MemberOptions
from braintumor.models.labels import CLASSES
from tests.support.bundles import export_members
from tests.support.images import write_phantom_classes
from tests.support.reports import ENGINE, Documents, run


@pytest.fixture(scope="session")
def small_sources(small_keras: Callable[..., Path]) -> tuple[Path, Path]:
    """Two Keras models: one as we train them, one of scaled colours that gives logits in another order."""
    return (
        small_keras("plain", size=(32, 32), seed=0),
        small_keras("foreign", size=(48, 40), channels=3, scaling=False, head="logits", seed=1),
    )


@pytest.fixture(scope="session")
def small_bundle(small_sources: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both, exported as fp32. Not to be changed: copy it."""
    plain, foreign = small_sources
    members = (
        MemberOptions(plain, "plain", 1.0, CLASSES),
        MemberOptions(foreign, "foreign", 2.0, CLASSES[::-1], preprocess="tf"),
    )
    folder = tmp_path_factory.mktemp("bundles") / "small"
    return export_members(folder, members)


@pytest.fixture(scope="session")
def phantom_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three phantoms a class, as <class>/<file>.png."""
    return write_phantom_classes(tmp_path_factory.mktemp("classes"), 3)


@pytest.fixture(scope="session")
def measured(
    small_bundle: Path, phantom_classes: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A real accuracy file and a real latency file, of a bundle that is its own reference."""
    folder = tmp_path_factory.mktemp("measured")
    accuracy, latency = folder / "accuracy.json", folder / "latency.json"
    shared = ("--engine", ENGINE, "--data", phantom_classes)
    evaluated = run(
        *("accuracy", small_bundle, *shared, "--reference", small_bundle, "--reference-engine", ENGINE),
        *("--robustness", 4, "--no-record", "--json", accuracy),
    )
    assert evaluated.exit_code in {0, 3}, evaluated.output
    window = ("--rounds", 4, "--seconds", 1, "--images", 8)
    timed = run("latency", small_bundle, *shared, "--batch", "1,2", *window, "--json", latency)
    assert timed.exit_code == 0, timed.output
    return accuracy, latency


@pytest.fixture
def documents(measured: tuple[Path, Path]) -> Documents:
    accuracy, latency = measured
    return json.loads(accuracy.read_text()), json.loads(latency.read_text())
