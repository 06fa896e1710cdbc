"""A working directory like that of somebody who follows the pages: a scan, folders of images, a model, bundles."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from braintumor.models.labels import CLASSES
from tests.support.images import write_phantom_classes
from tests.support.paths import BIN, ROOT


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory, shipped_model: Path, own_cache: Path) -> Path:
    """What all pages start from. Not to be changed: copy it."""
    folder = tmp_path_factory.mktemp("furnished")
    shutil.copytree(ROOT / "examples", folder / "examples")
    shutil.copy(ROOT / "examples" / "scan.png", folder / "scan.png")
    shutil.copy(shipped_model, folder / "mine.keras")
    shutil.copy(shipped_model.with_suffix(".answers.json"), folder / "mine.answers.json")
    write_phantom_classes(folder / "images", 4)
    shutil.copytree(folder / "images" / CLASSES[0], folder / "scans")
    export(folder, shipped_model, "fp32", own_cache)
    return folder


def export(folder: Path, model: Path, precision: str, cache: Path) -> None:
    command = [BIN / "bt-export", model, "--precision", precision]
    subprocess.run(command, cwd=folder, env=os.environ | {"BRAINTUMOR_CACHE": str(cache)}, check=True)


@pytest.fixture
def sandbox(furnished: Path, tmp_path: Path) -> Path:
    """A copy of its own."""
    return Path(shutil.copytree(furnished, tmp_path / "sandbox"))


@pytest.fixture
def run(sandbox: Path, shipped_model: Path, own_cache: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Runs a line of a shell in the sandbox with bundles of all precisions, with our commands on the path."""
    for precision in ("fp16", "int8"):
        export(sandbox, shipped_model, precision, own_cache)

    def line(command: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PATH": os.pathsep.join([str(BIN), os.environ["PATH"]]), "PYTHONUTF8": "1"}
        bash = [shutil.which("bash") or "bash", "-c", command]
        return subprocess.run(bash, cwd=sandbox, env=environment, capture_output=True, text=True, check=False)

    return line
