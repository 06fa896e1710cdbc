"""What the tests of bench share: small ensembles, exported by the real export from real Keras models."""

from collections.abc import Callable
from pathlib import Path

import pytest

from braintumor.export import MemberOptions
from braintumor.models.labels import CLASSES
from tests.support.bundles import export_members
from tests.support.images import write_phantom_classes


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
