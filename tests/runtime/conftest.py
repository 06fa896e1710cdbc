"""Real bundles, exported once a session; hand-made ones for what an export never gives; phantoms as images."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from braintumor.export import MemberOptions
from braintumor.models.labels import CLASSES
from braintumor.runtime.bundle.load import Member, load_bundle
from braintumor.runtime.engines.base import Engine
from braintumor.runtime.engines.registry import engine_factory
from tests.support.bundles import export_members, forge_bundle
from tests.support.onnx_models import small_graph

IMAGES = 12


@pytest.fixture(scope="session")
def exported(
    small_keras: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str, Mapping[str, float]], Path]:
    """Exports members "a", "b", "c" with these weights as a bundle, by the real export."""
    shapes = {"a": ((32, 32), 0), "b": ((48, 40), 1), "c": ((40, 56), 2)}

    def make(name: str, precision: Any, weights: Mapping[str, float]) -> Path:
        members = tuple(
            MemberOptions(small_keras(m, size=shapes[m][0], seed=shapes[m][1]), m, weight, CLASSES)
            for m, weight in weights.items()
        )
        return export_members(tmp_path_factory.mktemp("bundles") / name, members, precision)

    return make


@pytest.fixture(scope="session")
def single(exported: Callable[..., Path]) -> Path:
    """A bundle of one FP32 member. Not to be changed: copy it."""
    return exported("single", "fp32", {"a": 1.0})


@pytest.fixture(scope="session")
def half(exported: Callable[..., Path]) -> Path:
    """A bundle of one FP16 member."""
    return exported("half", "fp16", {"a": 1.0})


@pytest.fixture(scope="session")
def brain_float(exported: Callable[..., Path]) -> Path:
    """A bundle of one BF16 member."""
    return exported("brain-float", "bf16", {"a": 1.0})


@pytest.fixture(scope="session")
def three(exported: Callable[..., Path]) -> Path:
    """A bundle of three members of different input sizes with the weights 1, 2, 3."""
    return exported("three", "fp32", {"a": 1.0, "b": 2.0, "c": 3.0})


@pytest.fixture
def member(single: Path) -> Member:
    return load_bundle(single).members[0]


@pytest.fixture
def gpu_engine() -> Callable[..., Iterator[tuple[Member, Engine]]]:
    """Loads a bundle's members one after the other on an engine that needs a GPU."""

    def loaded(name: str, folder: Path) -> Iterator[tuple[Member, Engine]]:
        for member in load_bundle(folder).members:
            with engine_factory(name)(member) as engine:
                yield member, engine

    return loaded


@pytest.fixture
def copied(single: Path, tmp_path: Path) -> Path:
    """A copy of the single-member bundle, to be damaged."""
    return Path(shutil.copytree(single, tmp_path / "copied"))


@pytest.fixture(scope="session")
def scans(phantom_files: Callable[..., list[Path]]) -> list[Path]:
    """Phantoms as PNG files."""
    return phantom_files(IMAGES, 96, 80, seed=5)


@pytest.fixture(scope="session")
def graph() -> Callable[..., onnx.ModelProto]:
    """Makes a small, valid member; see `small_graph`."""
    return small_graph


Handmade = Callable[..., Path]


@pytest.fixture
def handmade(tmp_path: Path) -> Handmade:
    """Writes a bundle of the given ONNX models with fitting hashes, as a forger would."""

    def make(*models: onnx.ModelProto | bytes, name: str = "handmade", weights: tuple[float, ...] = ()) -> Path:
        raw = {
            f"m{index}": model if isinstance(model, bytes) else model.SerializeToString()
            for index, model in enumerate(models)
        }
        return forge_bundle(tmp_path / name, raw, side=16, weights=weights or (1.0,) * len(models))

    return make


@pytest.fixture
def black_png(tmp_path: Path) -> Path:
    """An image for which `small_graph` gives NaN."""
    path = tmp_path / "black.png"
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(path)
    return path
