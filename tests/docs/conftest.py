"""A working directory like that of somebody who follows the pages: a scan, folders of images, a model, bundles."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from braintumor.models.labels import CLASSES
from tests.support.images import write_phantom_classes
from tests.support.paths import BIN, ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>.+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page. `reason` says why a test cannot run it; None where it runs."""

    page: Path
    line: int
    language: str
    text: str
    reason: str | None

    def commands(self) -> list[str]:
        """Of a block of shell commands, without comments."""
        lines = [re.sub(r"(^|\s+)#.*", "", line).strip() for line in self.text.splitlines()]
        return [line for line in lines if line]


def blocks(*languages: str) -> Iterator[Block]:
    """The blocks of these languages in README and all pages."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in _BLOCK.finditer(text):
            if found["language"] in languages:
                line = text.count("\n", 0, found.start()) + 1
                yield Block(page, line, found["language"], found["text"], found["reason"])


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
