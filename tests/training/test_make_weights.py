"""`make weights`: whatever ships beside weights is made of these weights."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from braintumor.bench.data.recorded import answers_path
from braintumor.export.graph.quantization_plan import plan_beside
from tests.support.paths import PRETRAINED, ROOT

SHIPPED = sorted(PRETRAINED.glob("*.keras"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_card_answers_and_plan_are_of_the_weights_that_ship(path: Path) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest in path.with_suffix(".md").read_text(encoding="utf-8")
    assert json.loads(answers_path(path).read_bytes())["source_sha256"] == digest
    plan = plan_beside(path, digest)
    assert plan is not None
    assert plan.source_sha256 == digest


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_weights_remakes_only_what_depends_on_a_newly_trained_model(tmp_path: Path) -> None:
    for folder in ("models", "runs/DenseNet121", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "models" / "pretrained").mkdir()
    old = ["setup.cfg", "pyproject.toml", ".venv/bin/python", ".venv/dev.installed"]
    old += [f"models/pretrained/{path.name}" for path in SHIPPED]
    old += [
        "models/pretrained/vote.json",
        "runs/vote.planned",
        "models/pretrained/cascades.json",
        "runs/EfficientNetV2S.planned",
    ]
    for age, name in enumerate(reversed(old)):
        _touch(tmp_path / name, age)
    trained = tmp_path / "runs" / "DenseNet121" / "DenseNet121.keras"
    _touch(trained, 1_000_000)
    assert _planned(tmp_path) == []
    _touch(trained, -10)
    done = _planned(tmp_path)
    assert [" ".join(line.split()[:2]).removeprefix(".venv/bin/") for line in done] == [
        "bt-train ship",
        "bt-train calibrate",
        "bt-export --precision",
        "bt-export --precision",
    ]
    assert "--cascade d.npz --save-plans models/pretrained" in done[3]
    assert "runs/DenseNet121/DenseNet121.keras --data d.npz --to models/pretrained" in done[0]
    assert all(name in done[2] for name in ("DenseNet121", "InceptionResNetV2", "EfficientNetV2M"))
    assert "EfficientNetV2S" not in done[2]


def _touch(path: Path, age_s: float) -> None:
    path.touch()
    stamp = 1_700_000_000 - age_s
    os.utime(path, (stamp, stamp))


def _planned(folder: Path) -> list[str]:
    command = ["make", "--dry-run", "weights", "RUNS=runs", "DATA=d.npz"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if "bt-" in line]
