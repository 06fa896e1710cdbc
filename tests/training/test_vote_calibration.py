"""The temperature of a vote: fitted beside its models, and taken by the export of these models only."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from braintumor.errors import IntegrityError
from braintumor.export.cli import export
from braintumor.files import sha256_of
from braintumor.models.catalog import shipped_weights
from braintumor.models.vote_calibration import VOTE_FILE, read_vote_calibration
from braintumor.runtime.bundle.load import load_bundle
from braintumor.training.cli import main
from braintumor.training.data.dataset import save_dataset


@pytest.fixture
def models(tmp_path: Path, small_keras: Callable[..., Path]) -> list[Path]:
    folder = tmp_path / "models"
    folder.mkdir()
    return [Path(shutil.copy(small_keras(seed=seed), folder / f"m{seed}.keras")) for seed in (0, 1)]


def test_bt_train_calibrate_writes_what_the_export_of_the_same_vote_takes(
    models: list[Path], parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_dataset(tmp_path / "data.npz", parts)
    done = CliRunner().invoke(main, ["calibrate", *map(str, models), "--data", "data.npz", "--vote", "1,2"])
    assert done.exit_code == 0, done.output
    fitted = read_vote_calibration(models[0].parent)
    assert fitted is not None
    assert fitted.temperature != 1
    assert set(fitted.expected_calibration_error) == {"val", "test"}
    temperatures = {"0.5,1": fitted.temperature, "1,1": 1.0}
    for vote, temperature in temperatures.items():
        done = CliRunner().invoke(export, [*map(str, models), "--precision", "fp32", "--vote", vote])
        assert done.exit_code == 0, done.output
        assert load_bundle("bundles/fp32").temperature == temperature
    stated = ["--vote", "1,2", "--temperature", "1.5"]
    done = CliRunner().invoke(export, [*map(str, models), "--precision", "fp32", *stated])
    assert done.exit_code == 0, done.output
    assert load_bundle("bundles/fp32").temperature == 1.5


@pytest.mark.parametrize("text", ["", "{}", "[]", json.dumps({"schema": "braintumor.vote-calibration/9"})])
def test_read_vote_calibration_refuses_another_file(tmp_path: Path, text: str) -> None:
    (tmp_path / VOTE_FILE).write_text(text)
    with pytest.raises(IntegrityError):
        read_vote_calibration(tmp_path)


def test_vote_calibration_fits_its_own_vote_only(models: list[Path], parts: Any) -> None:
    from braintumor.training.report.vote_calibration import calibrate_vote

    fitted = calibrate_vote(models, [1, 3], parts).calibration
    first, second = fitted.members
    assert fitted.fits([second, first], [6, 2])
    assert not fitted.fits([first, second], [6, 2])
    assert not fitted.fits([first], [1])
    assert not replace(fitted, members={first: 1.0}).fits([first, second], [1, 3])


def test_read_vote_calibration_of_the_shipped_vote() -> None:
    models = shipped_weights()
    fitted = read_vote_calibration(models[0].parent)
    assert fitted is None or fitted.fits([sha256_of(path) for path in models], [1.0] * len(models))
