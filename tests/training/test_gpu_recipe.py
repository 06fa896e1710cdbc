"""The recipe for accelerators, rehearsed with a small network on JAX's CPU."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braintumor.errors import IntegrityError
from braintumor.training.data.dataset import save_dataset
from braintumor.training.weight_pieces import read_pieces, write_pieces

HERE = Path(__file__).parent

_REHEARSAL = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("small", {str(HERE / "small.py")!r})
small = importlib.util.module_from_spec(spec)
spec.loader.exec_module(small)
from braintumor.training import gpu_recipe
from braintumor.training.fit import accelerated
from braintumor.training.fit import learner
accelerated.build_classifier = learner.build_classifier = small.build
gpu_recipe.main(sys.argv[1:])
"""


def test_read_pieces_gives_the_weights_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(3, 3, 4, 8)).astype(np.float32), np.array([1e6, 1e-6], np.float32), np.float32(7)]
    weights = [np.asarray(value) for value in weights]
    paths = write_pieces(tmp_path, weights, piece_bytes=100)
    assert len(paths) > 5
    assert all(path.stat().st_size <= 100 for path in paths[1:])
    restored = read_pieces(tmp_path)
    assert [value.shape for value in restored] == [value.shape for value in weights]
    assert np.abs(restored[0] - weights[0]).max() < 2e-3
    assert np.array_equal(restored[1], weights[1])
    paths[2].write_bytes(b"x" * paths[2].stat().st_size)
    with pytest.raises(IntegrityError, match="fetch them again"):
        read_pieces(tmp_path)
    paths[2].unlink()
    with pytest.raises(IntegrityError, match="fetch them again"):
        read_pieces(tmp_path)


def _rehearse(*arguments: str) -> str:
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", _REHEARSAL, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_train_all_stops_and_resumes_and_assemble_makes_keras_files(tmp_path: Path, parts: Any) -> None:
    data = tmp_path / "data.npz"
    save_dataset(data, parts)
    options = ["--data", str(data), "--size", "80", "--epochs", "12", "--batch-size", "16", "--chunk", "2"]
    # Minutes in plenty: with few, the number of steps would follow the speed of the moment.
    options += ["--minutes", "600", "--precision", "float32"]
    # Two of the four: each is compiled anew.
    options += ["--only", "EfficientNetV2M", "DenseNet121"]
    whole = _rehearse("train", "--out", str(tmp_path / "a"), *options)
    assert whole.count("done:") == 2
    stopped = _rehearse("train", "--out", str(tmp_path / "b"), *options, "--stop-after", "0.001")
    assert "the same command goes on" in stopped
    assert (tmp_path / "b" / "EfficientNetV2M" / "state.npz").exists()
    _rehearse("train", "--out", str(tmp_path / "b"), *options)
    for name in ("EfficientNetV2M", "DenseNet121"):
        first, second = ((tmp_path / run / name / "predictions.csv").read_text() for run in "ab")
        assert first == second
    _rehearse("assemble", str(tmp_path / "a"), "--to", str(tmp_path / "runs"))
    assert (tmp_path / "runs" / "EfficientNetV2M" / "EfficientNetV2M.keras").exists()
    about = json.loads((tmp_path / "runs" / "DenseNet121" / "run.json").read_text())
    assert about["recipe"]["model"] == "DenseNet121"
