"""Whole small runs, and what stops one."""

import functools
import io
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from braintumor.errors import IntegrityError, ModelError, OutputError, UsageError
from braintumor.training.data.predictions import read_predictions
from braintumor.training.fit import checkpoint as state
from braintumor.training.fit import console
from braintumor.training.fit import train as train_module
from braintumor.training.fit.checkpoint import RunFolder
from braintumor.training.fit.console import progress_line
from braintumor.training.fit.finalize import finalize_run, refreshed
from braintumor.training.fit.learner import Learner
from braintumor.training.fit.progress import Progress
from braintumor.training.fit.schedule import BudgetClock, one_cycle
from braintumor.training.fit.train import DivergedError, train_model
from braintumor.training.keras_io import load_keras_file, predict_parts
from braintumor.training.recipe import Augmentation, Recipe, recipe_from_json
from braintumor.training.report.result import read_run

pytestmark = pytest.mark.usefixtures("small_network")

QUICK = Recipe("DenseNet121", sizes=(32,), epochs=2, batch_size=32, seed=1, batchnorm_refresh=3)


def _run(recipe: Recipe, parts: Any, folder: Path, **options: Any) -> Any:
    return train_model(recipe, parts, RunFolder(folder), **options)


def test_train_model_learns_and_finalize_run_writes_a_keras_file(tmp_path: Path, parts: Any) -> None:
    # No mirroring: the corner is the class.
    gentle = Augmentation(rotation_deg=5, zoom=0.05, shift=0.02, contrast=0.1, flip=False)
    recipe = Recipe(
        "DenseNet121", sizes=(32, 48), epochs=10, batch_size=16, seed=1, peak_learning_rate=2e-2, augmentation=gentle
    )
    reports: list[Progress] = []
    position = _run(recipe, parts, tmp_path, progress=reports.append)
    assert [row.size for row in position.rows] == [32] * 5 + [48] * 5
    assert position.best_epoch > 5
    assert position.rows[-1].train_loss < position.rows[0].train_loss
    assert len(reports) == 60
    assert reports[-1].fraction == 1
    assert "images/s" in progress_line("DenseNet121", reports[-1])
    path = finalize_run(recipe, parts, RunFolder(tmp_path))
    stored = read_predictions(tmp_path / "predictions.csv")
    model = load_keras_file(path)
    again = predict_parts(model, parts, "head")
    for split in ("val", "test"):
        assert stored[split].files == parts[split].files
        # The run predicts in the policy of the run; the file is float32.
        assert np.abs(stored[split].probabilities - again[split]).max() < 0.03
    assert (again["test"].argmax(axis=1) == parts["test"].labels).mean() > 0.8
    assert json.loads((tmp_path / "result.json").read_text())["kept"] in {"as trained", "batchnorm refreshed"}
    assert recipe_from_json(json.loads((tmp_path / "run.json").read_text())["recipe"]) == recipe


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_refreshed_changes_the_statistics_and_no_other_weight(parts: Any, ema: float) -> None:
    recipe = Recipe(**{**QUICK_VALUES, "batchnorm_refresh": 3, "ema": ema})
    learner = Learner(recipe, 32)
    before = [np.array(item) for item in learner.model.get_weights()]
    after = refreshed(learner, recipe, parts["train"])
    names = [item.path for item in learner.model.weights]
    changed = {name for name, old, new in zip(names, before, after, strict=True) if not np.array_equal(old, new)}
    assert changed == {name for name in names if "moving" in name}


def test_train_model_depends_on_the_seed_alone(tmp_path: Path, parts: Any) -> None:
    first, again = (_run(QUICK, parts, tmp_path / name).rows[-1].val_loss for name in "ab")
    other = _run(Recipe(**{**QUICK_VALUES, "seed": 2}), parts, tmp_path / "c").rows[-1].val_loss
    assert first == again
    assert first != other


QUICK_VALUES: dict[str, Any] = {"model": "DenseNet121", "sizes": (32,), "epochs": 2, "batch_size": 32}


def test_train_model_leaves_a_finished_run_alone(tmp_path: Path, parts: Any) -> None:
    _run(QUICK, parts, tmp_path)
    reports: list[Progress] = []
    again = _run(QUICK, parts, tmp_path, progress=reports.append)
    assert again.epoch == 2
    assert reports == []


def test_train_model_refuses_a_folder_of_another_recipe(tmp_path: Path, parts: Any) -> None:
    _run(QUICK, parts, tmp_path)
    with pytest.raises(UsageError, match=r"epochs 2 there, 3 now.*`restart`"):
        _run(Recipe(**{**QUICK_VALUES, "epochs": 3, "seed": 1, "batchnorm_refresh": 3}), parts, tmp_path)
    RunFolder(tmp_path).clear()
    assert _run(Recipe(**{**QUICK_VALUES, "epochs": 1}), parts, tmp_path).epoch == 1


def test_train_model_ends_with_its_time_budget(tmp_path: Path, parts: Any) -> None:
    recipe = Recipe(**{**QUICK_VALUES, "epochs": 100_000, "minutes": 0.02})
    reports: list[Progress] = []
    position = _run(recipe, parts, tmp_path, progress=reports.append)
    # The rest of the budget may go into the last validation.
    assert reports[-1].fraction > 0.8
    assert position.epoch < 1000
    assert position.rows[-1].learning_rate < recipe.peak_learning_rate


def test_train_model_stops_early_after_its_patience(tmp_path: Path, parts: Any) -> None:
    # A rate of zero never gets better than the first epoch; the statistics of BatchNorm still move.
    recipe = Recipe(**{**QUICK_VALUES, "epochs": 50, "patience": 2, "peak_learning_rate": 0, "batchnorm_momentum": 0})
    position = _run(recipe, parts, tmp_path)
    assert position.epoch == position.best_epoch + 2 < 50


def test_train_model_stops_at_a_loss_that_is_not_finite_and_names_the_batch(tmp_path: Path, parts: Any) -> None:
    recipe = Recipe(**{**QUICK_VALUES, "peak_learning_rate": 1e30})
    with pytest.raises(
        DivergedError,
        match=r"loss became (nan|inf) in epoch 1, batch \d of 3 \(phantom-1-\d+.*is no checkpoint yet.*`restart`",
    ):
        _run(recipe, parts, tmp_path)


def test_train_model_never_saves_weights_that_are_not_finite(
    tmp_path: Path, parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rate(progress: float, **_: float) -> float:
        return 1e-3 if progress < 0.5 else float("nan")

    monkeypatch.setattr(train_module, "one_cycle", rate)
    with pytest.raises(DivergedError, match=r"step 1 of epoch 2; .* keeps state\.npz and best\.npz from before"):
        _run(QUICK, parts, tmp_path, checkpoint_every_s=0.0)
    checkpoint = RunFolder(tmp_path).load_state()
    assert checkpoint is not None
    assert (checkpoint[0].epoch, checkpoint[0].step) == (1, 0)
    assert all(np.isfinite(value).all() for value in checkpoint[1] if value.dtype.kind == "f")
    assert RunFolder(tmp_path).load_best() is not None


def test_train_model_reaches_the_last_size_within_a_short_budget(tmp_path: Path, parts: Any) -> None:
    recipe = Recipe(**{**QUICK_VALUES, "sizes": (32, 40, 48), "minutes": 0.0001})
    position = _run(recipe, parts, tmp_path)
    assert position.rows[-1].size == 48
    assert RunFolder(tmp_path).load_best() is not None


def test_train_model_refuses_a_small_disk_before_the_first_step(
    tmp_path: Path, parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1_000_000

    monkeypatch.setattr(state.shutil, "disk_usage", lambda _: Usage)
    with pytest.raises(OutputError, match=r"room for 0\.0 GB; checkpoints of this model need 0\.3 GB"):
        _run(QUICK, parts, tmp_path)


def test_run_folder_counts_its_own_files_as_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 1_000

    folder = RunFolder(tmp_path)
    folder.create(0)
    folder.save_best([np.zeros(1_000, np.float32)])
    monkeypatch.setattr(state.shutil, "disk_usage", lambda _: Usage)
    folder.create(5_000)
    with pytest.raises(OutputError, match="another disk"):
        folder.create(6_000)


def test_train_model_leaves_the_last_checkpoint_on_a_full_disk(
    tmp_path: Path, parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path)
    folder.create(0)
    folder.save_state(state.Position(epoch=1), [np.ones(3)])

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state.np, "savez", full)
    with pytest.raises(OutputError, match="unharmed"):
        folder.save_state(state.Position(epoch=2), [np.ones(3)])
    monkeypatch.undo()
    checkpoint = folder.load_state()
    assert checkpoint is not None
    assert checkpoint[0].epoch == 1
    assert len(parts) == 3


def test_train_model_refuses_damaged_and_foreign_checkpoints(tmp_path: Path, parts: Any, small: ModuleType) -> None:
    _run(QUICK, parts, tmp_path)
    folder = RunFolder(tmp_path)
    stored = folder.load_state()
    assert stored is not None
    folder.save_state(state.Position(epoch=1, size=32), stored[1][:-3])
    with pytest.raises(ModelError, match="restart"):
        _run(QUICK, parts, tmp_path)
    (tmp_path / "state.npz").write_bytes(b"PK\x03\x04 but no more")
    with pytest.raises(IntegrityError, match="damaged"):
        _run(QUICK, parts, tmp_path)
    assert small.RECIPE.model == "DenseNet121"


def test_train_model_starts_from_a_file(tmp_path: Path, parts: Any, small_keras: Any) -> None:
    _run(QUICK, parts, tmp_path / "a")
    path = finalize_run(QUICK, parts, RunFolder(tmp_path / "a"))
    recipe = Recipe(**{**QUICK_VALUES, "initial": str(path), "peak_learning_rate": 0, "batchnorm_momentum": 0.99})
    warm = _run(recipe, parts, tmp_path / "b").rows[0].val_loss
    cold = _run(Recipe(**{**QUICK_VALUES, "peak_learning_rate": 0}), parts, tmp_path / "c").rows[0].val_loss
    assert warm != cold
    with pytest.raises(ModelError, match=r"other shapes.*bt-train grow"):
        _run(Recipe(**{**QUICK_VALUES, "initial": str(small_keras())}), parts, tmp_path / "d")


def test_train_model_refuses_to_start_from_another_file(tmp_path: Path, parts: Any) -> None:
    none, torn = tmp_path / "none.keras", tmp_path / "torn.keras"
    with pytest.raises(UsageError, match=r"none\.keras is not there"):
        _run(Recipe(**{**QUICK_VALUES, "initial": str(none)}), parts, tmp_path / "a")
    torn.write_bytes(b"PK\x03\x04 but no more")
    with pytest.raises(ModelError, match=r"torn\.keras is not a Keras file, or only a part of one"):
        _run(Recipe(**{**QUICK_VALUES, "initial": str(torn)}), parts, tmp_path / "b")


def test_finalize_run_loses_no_weights_on_a_full_disk(
    tmp_path: Path, parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(QUICK, parts, tmp_path)
    folder = RunFolder(tmp_path)

    def full(_: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("keras.Model.save", full)
        with pytest.raises(OutputError, match=r"No space left.*run the same command again"):
            finalize_run(QUICK, parts, folder)
    assert [path.name for path in tmp_path.glob("*.keras")] == []
    assert finalize_run(QUICK, parts, folder).stat().st_size > 0


@pytest.mark.parametrize(("text", "message"), [('{"recipe": ', "is damaged"), ("{}", "does not say recipe, command")])
def test_read_record_refuses_a_damaged_file(tmp_path: Path, parts: Any, text: str, message: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(IntegrityError, match=rf"run\.json {message}.*`restart`"):
        _run(QUICK, parts, tmp_path)
    with pytest.raises(IntegrityError, match=rf"run\.json {message}"):
        read_run(tmp_path)


def test_train_model_refuses_fewer_images_than_a_batch(tmp_path: Path, parts: Any) -> None:
    few = {"train": parts["train"].where(lambda name: name.endswith("0.png")), "val": parts["val"]}
    with pytest.raises(UsageError, match="a batch of 32"):
        _run(QUICK, few, tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"sizes": (16,)},
        {"sizes": ()},
        {"minutes": 0},
        {"epochs": 0},
        {"ema": 1.0},
        {"warmup": -1},
        {"precision": "int4"},
    ],
)
def test_recipe_refuses_values_out_of_range(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Recipe(**{**QUICK_VALUES, **change})


def test_one_cycle_rises_then_falls() -> None:
    rates = [one_cycle(step / 100, peak=1.0, warmup=0.15) for step in range(101)]
    assert rates.index(max(rates)) == 15
    assert max(rates) == pytest.approx(1)
    assert rates[0] == pytest.approx(0.04)
    assert rates[-1] == pytest.approx(1e-3)
    assert one_cycle(0.0, peak=2.0, warmup=0.0) == pytest.approx(2)


def test_budget_clock_leaves_out_the_time_of_a_suspended_process() -> None:
    time = [0.0]
    clock = BudgetClock(now=lambda: time[0])
    for _ in range(30):
        time[0] += 1
        clock.tick()
    time[0] += 3600
    assert clock.tick() == pytest.approx(8)
    assert clock.elapsed_s == pytest.approx(38)
    time[0] += 5
    clock.lap()
    assert clock.elapsed_s == pytest.approx(43)


def test_live_progress_is_live_on_a_terminal_and_rare_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, parts: Any
) -> None:
    reports: list[Progress] = []
    _run(QUICK, parts, tmp_path, progress=reports.append)
    for terminal, least, most in ((True, 1, 100), (False, 2, 4)):
        stream = io.StringIO()
        console_class = functools.partial(Console, file=stream, force_terminal=terminal, width=250)
        monkeypatch.setattr(console, "Console", lambda make=console_class, **_: make())
        with console.live_progress("DenseNet121") as progress:
            for item in reports:
                progress(item)
        lines = [line for line in stream.getvalue().splitlines() if "images/s" in line]
        assert least <= len(lines) <= most
        assert "step 3/3" in lines[-1]
        assert "val loss" in lines[-1]
