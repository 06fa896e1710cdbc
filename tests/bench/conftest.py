"""What the tests of bench share: small ensembles, exported by the real export from real Keras models."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from braintumor.bench.data.phantoms import phantoms
from braintumor.export.member import MemberOptions, VerificationImages
from braintumor.export.pipeline import ExportOptions, export_bundle
from braintumor.models.labels import CLASSES


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
    images = VerificationImages((), 64)
    return export_bundle(ExportOptions(members, "fp32", folder, "small", images, "bt-export")).folder


@pytest.fixture(scope="session")
def phantom_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three phantoms a class, as <class>/<file>.png."""
    folder = tmp_path_factory.mktemp("classes")
    for index, pixels in enumerate(phantoms(3 * len(CLASSES), 96, 80, seed=3)):
        path = folder / CLASSES[index % len(CLASSES)] / f"{index:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder
