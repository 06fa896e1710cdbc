"""Fixtures that tests of more than one folder use: a cache of their own, small Keras models, the real images."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from braintumor.cache import CACHE_VARIABLE
from braintumor.models.catalog import ENSEMBLE
from braintumor.runtime.engines.signal_stack import signal_stack_kept
from tests.support.images import extract_split, write_grey_levels, write_phantoms
from tests.support.keras_models import grey_level_classifier, small_classifier
from tests.support.paths import PRETRAINED

# Programs that a shell starts in the background ignore Ctrl-C, and so would all that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Nothing here may depend on what the user who runs the tests has set or cached.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for the whole run, so that a model that two tests need is converted once."""
    base = tmp_path_factory.getbasetemp()
    # The processes of pytest-xdist have folders below that of the run.
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder))
        patch.delenv("BRAINTUMOR_DATA", raising=False)
        patch.delenv("BRAINTUMOR_BUNDLE", raising=False)
        yield folder


@pytest.fixture
def own_cache_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for one test."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB; skips where one cannot be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["/bin/mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small disk needs root on Linux")
    yield folder
    subprocess.run(["/bin/umount", str(folder)], check=True)


@pytest.fixture(autouse=True)
def own_signal_stack() -> Iterator[None]:
    """What a test that calls OpenVINO itself does to it must not meet the tests that interrupt."""
    with signal_stack_kept():
        yield


@pytest.fixture(scope="session")
def shipped_model() -> Path:
    """The trained DenseNet121 that comes with the package."""
    return PRETRAINED / "DenseNet121.keras"


@pytest.fixture(scope="session")
def shipped_models() -> list[Path]:
    """The trained ensemble that comes with the package: what `bt-export` takes when no model is named."""
    return sorted(path for path in PRETRAINED.glob("*.keras") if path.stem in ENSEMBLE)


@pytest.fixture(scope="session")
def test_split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 703 real test images, as <class>/<file>; skips where the data is not."""
    return extract_split(tmp_path_factory.mktemp("test"), "test")


@pytest.fixture(scope="session")
def phantom_files(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Path]]:
    """Writes phantoms as PNG files: so many, of this height and width."""

    def write(count: int, height: int, width: int, *, seed: int) -> list[Path]:
        return write_phantoms(tmp_path_factory.mktemp("scans"), count, height, width, seed=seed)

    return write


KerasFactory = Callable[..., Path]


@pytest.fixture(scope="session")
def small_keras(tmp_path_factory: pytest.TempPathFactory) -> KerasFactory:
    """Builds small, decided Keras classifiers with every structure that the real ones have."""
    folder = tmp_path_factory.mktemp("keras")
    made: dict[tuple[Any, ...], Path] = {}

    def make(
        name: str = "small",
        *,
        size: tuple[int | None, int | None] = (32, 32),
        channels: int = 1,
        scaling: bool = True,
        head: str = "softmax",
        classes: int = 4,
        seed: int = 0,
    ) -> Path:
        key = (name, size, channels, scaling, head, classes, seed)
        if key not in made:
            path = folder / str(len(made)) / f"{name}.keras"
            path.parent.mkdir(exist_ok=True)
            small_classifier(size, channels, scaling, head, classes, seed).save(path)
            made[key] = path
        return made[key]

    return make


@pytest.fixture(scope="session")
def grey_level_keras(tmp_path_factory: pytest.TempPathFactory) -> KerasFactory:
    """Builds classifiers of x/255 that tell images by their mean: that of output i is nearest to level i."""

    def make(**options: Any) -> Path:
        path = tmp_path_factory.mktemp("grey") / "grey.keras"
        grey_level_classifier(**options).save(path)
        return path

    return make


@pytest.fixture(scope="session")
def grey_level_images(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes noisy images of these folders' mean grey levels, in their order, as <folder>/<number>.png."""

    def write(names: Any, *, count: int = 3, **options: Any) -> Path:
        return write_grey_levels(tmp_path_factory.mktemp("levels"), names, count=count, **options)

    return write
