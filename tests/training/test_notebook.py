"""The notebook, executed on phantoms."""

import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from braintumor.models.labels import CLASSES
from braintumor.training.data.dataset import Dataset, save_dataset
from braintumor.training.data.hashing import phash
from braintumor.training.data.predictions import predictions_csv
from tests.support.paths import ROOT

NOTEBOOK = ROOT / "notebooks" / "Brain_Tumor_Ensemble.ipynb"

_EXECUTE = """
import sys, nbformat, nbclient
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
print("cells:", sum(cell.cell_type == "code" for cell in notebook.cells))
print("figures:", str(notebook).count("image/png"))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("nbclient", "ipykernel")),
    reason="nbclient and ipykernel are not installed",
)
def test_the_notebook_runs_on_phantoms(tmp_path: Path, parts: dict[Any, Dataset], small: ModuleType) -> None:
    assert small.RECIPE.model == "DenseNet121"
    save_dataset(tmp_path / "data.npz", parts)
    with (tmp_path / "manifest.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "label", "split", "phash"])
        for split, data in parts.items():
            for image, label, name in zip(data.images, data.labels, data.files, strict=True):
                writer.writerow([name, CLASSES[label], split, f"{phash(image):016x}"])
    rng = np.random.default_rng(0)
    for model in ("DenseNet121", "EfficientNetV2S"):
        folder = tmp_path / "runs" / model
        folder.mkdir(parents=True)
        answers = {
            split: rng.dirichlet(np.ones(4), len(parts[split])).astype(np.float32) for split in ("val", "test")
        }
        (folder / "predictions.csv").write_text(predictions_csv(parts, answers))
    environment = os.environ | {
        "BRAINTUMOR_DATA_FILE": str(tmp_path / "data.npz"),
        "BRAINTUMOR_RUNS": str(tmp_path / "runs"),
        "BRAINTUMOR_MANIFEST": str(tmp_path / "manifest.csv"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }
    command = [sys.executable, "-c", _EXECUTE, str(NOTEBOOK)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "cells: 12" in done.stdout
    assert "figures: 5" in done.stdout


def test_the_notebook_shows_no_picture_of_the_data_set() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert "imshow" not in text
    assert "parts[" not in text
