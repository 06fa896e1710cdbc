"""Figures, calibration, the ensemble search, the report and what ships."""

import csv
import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from braintumor.bench.data.manifest import read_manifest
from braintumor.bench.metrics.classification import cross_entropy
from braintumor.bench.metrics.intervals import Share, clopper_pearson
from braintumor.errors import InputError, IntegrityError, ModelError, UsageError
from braintumor.models.input_settings import SETTINGS_FILE
from braintumor.models.labels import CLASSES
from braintumor.training import keras_io as keras_file
from braintumor.training.cli import main
from braintumor.training.data.dataset import save_dataset
from braintumor.training.data.predictions import Predictions, predictions_csv, read_predictions
from braintumor.training.publish import ship
from braintumor.training.report.calibration import calibration, fit_temperature, tempered
from braintumor.training.report.evaluate import evaluate
from braintumor.training.report.foreign import foreign_figures, read_collection
from braintumor.training.report.page import write_report
from braintumor.training.report.result import ENSEMBLE, make_report
from braintumor.training.report.vote import equal_vote

_NAMES = ("EfficientNetV2M", "DenseNet121", "InceptionResNetV2", "EfficientNetV2S")


def _answers(count: int = 200, *, seed: int = 0, skill: float = 2.0, files: tuple[str, ...] = ()) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    logits = rng.normal(size=(count, 4)) + skill * np.eye(4)[labels]
    powers = np.exp(logits)
    names = files or tuple(f"{number}.png" for number in range(count))
    return Predictions(names, labels.astype(np.int64), powers / powers.sum(axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    # R: binom.test(x, n)$conf.int
    [(0, 10, 0.0, 0.3084971), (10, 10, 0.6915029, 1.0), (5, 10, 0.1870860, 0.8129140)],
)
def test_clopper_pearson_is_the_textbook_interval(correct: int, total: int, low: float, high: float) -> None:
    assert clopper_pearson(correct, total) == pytest.approx((low, high), abs=1e-5)


def test_evaluate_counts() -> None:
    probabilities = np.array([[0.7, 0.1, 0.1, 0.1], [0.6, 0.2, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1], [0.0, 0.0, 0.0, 1.0]])
    scores = evaluate(Predictions(("a", "b", "c", "d"), np.array([0, 1, 2, 3]), probabilities))
    assert (scores.images, scores.correct, scores.accuracy) == (4, 3, 0.75)
    assert scores.confusion == ((1, 0, 0, 0), (1, 0, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))
    assert scores.errors == (("b", "healthy", "glioma", 0.6),)
    assert scores.loss == pytest.approx(-np.log([0.7, 0.2, 0.7, 1.0]).mean())
    assert scores.per_class["glioma"].f1 == pytest.approx(2 / 3)
    assert scores.precision("glioma") == Share.of(1, 2)
    assert scores.precision("healthy") is None, "nothing was called healthy"
    assert scores.text().startswith("75.00% [19.41%, 99.37%] (3/4)")


def test_cross_entropy_of_a_certain_error_is_finite() -> None:
    assert cross_entropy(np.array([[1.0, 0.0, 0.0, 0.0]]), np.array([1])) == pytest.approx(-np.log(1e-7))


def test_fit_temperature_reverses_a_temperature() -> None:
    honest = _answers(4000, skill=1.0)
    # Labels drawn from the probabilities: perfectly calibrated.
    rng = np.random.default_rng(1)
    labels = np.array([rng.choice(4, p=row) for row in honest.probabilities])
    honest = Predictions(honest.files, labels, honest.probabilities)
    overconfident = honest.with_probabilities(tempered(honest.probabilities, 0.5))
    assert calibration(honest).ece < 0.03 < calibration(overconfident).ece
    assert fit_temperature(overconfident) == pytest.approx(2, rel=0.1)
    assert sum(item.count for item in calibration(honest).bins) == 4000
    assert np.allclose(tempered(honest.probabilities, 1.0), honest.probabilities)


def test_read_predictions_reads_what_was_written(tmp_path: Path, parts: Any) -> None:
    rng = np.random.default_rng(0)
    probabilities = {
        split: rng.dirichlet(np.ones(4), len(parts[split])).astype(np.float32) for split in ("val", "test")
    }
    path = tmp_path / "predictions.csv"
    path.write_text(predictions_csv(parts, probabilities))
    predictions = read_predictions(path)
    assert np.allclose(predictions["val"].probabilities, probabilities["val"], atol=1e-6)
    assert predictions["test"].files == parts["test"].files
    path.write_text("something,else\n")
    with pytest.raises(IntegrityError, match="columns"):
        read_predictions(path)
    path.write_text(f"split,file,label,{','.join(CLASSES)}\nval,a,glioma,1,0,0\n")
    with pytest.raises(IntegrityError, match="damaged"):
        read_predictions(path)
    with pytest.raises(InputError, match="bt-train"):
        read_predictions(tmp_path / "none.csv")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three finished runs on the files of the real manifest, with made-up answers."""
    rows = read_manifest()
    folder = tmp_path / "runs"
    for seed, name in enumerate(_NAMES[:3]):
        (folder / name).mkdir(parents=True)
        with (folder / name / "predictions.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["split", "file", "label", *CLASSES])
            rng = np.random.default_rng(seed)
            for row in rows:
                if row.split != "train":
                    powers = np.exp(rng.normal(size=4) + 4 * np.eye(4)[CLASSES.index(row.label)])
                    writer.writerow([row.split, row.file, row.label, *(powers / powers.sum())])
    history = "epoch,size,train_loss,train_accuracy,val_loss,val_accuracy,learning_rate,images_per_s,elapsed_s\n"
    history += "1,96,0.9,0.7,0.8,0.72,0.001,30,100\n2,128,0.5,0.85,0.4,0.9,0.0005,20,300\n"
    (folder / "DenseNet121" / "history.csv").write_text(history)
    recipe = {"seed": 1, "initial": None}
    about = {"recipe": recipe, "command": "bt-train DenseNet121", "begun": "now", "versions": {"keras": "3"}}
    (folder / "DenseNet121" / "run.json").write_text(json.dumps(about))
    return folder


def test_make_report_evaluates_models_and_vote_on_both_parts(runs: Path, tmp_path: Path) -> None:
    report = make_report(runs, read_manifest())
    assert list(report.evaluations) == [*_NAMES[:3], ENSEMBLE]
    evaluation = report.evaluations[ENSEMBLE]
    assert evaluation.test.images == 703
    assert evaluation.leak_free is not None
    assert evaluation.leak_free.images == 359
    assert evaluation.leak_free_reliability is not None
    assert sum(item.count for item in evaluation.leak_free_reliability.before.bins) == 359
    assert report.choice is not None
    assert report.choice.vote == equal_vote(_NAMES[:3])
    assert [sum(row) for row in evaluation.test.confusion] == [158, 199, 183, 163]
    assert report.study_vote is not None
    assert len(report.choice.models) == 4
    written = {path.name for path in write_report(report, tmp_path / "report")}
    assert {"report.html", "report.json", "leaderboard.png", "curves.png", "confusion-Ensemble.png"} <= written
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("<svg ") == 3 + 4
    assert "http://" not in page
    assert "https://" not in page
    stored = json.loads((tmp_path / "report" / "report.json").read_text())
    assert stored["judged"]["Ensemble"]["test"]["images"] == 703
    # Each class of each model on both parts, and each of the four votes, has its line.
    assert page.count(">359 without near-duplicates</th>") == 4
    assert page.count("cannot be told apart") + page.count(">worse<") == 3 + 1
    assert stored["choice"]["vote"]["members"] == list(_NAMES[:3])


def test_make_report_refuses_a_manifest_of_other_images(runs: Path) -> None:
    others = [row if row.split != "test" else replace(row, file=f"x{row.file}") for row in read_manifest()]
    with pytest.raises(IntegrityError, match=r"703 of the 703 test images of EfficientNetV2M .*as `manifest`"):
        make_report(runs, tuple(others))


def test_bt_train_report(runs: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["report", str(runs), "--out", str(tmp_path / "report")])
    assert done.exit_code == 0, done.output
    assert "Ensemble" in done.output
    empty = CliRunner().invoke(main, ["report", str(tmp_path / "report"), "--out", str(tmp_path / "x")])
    assert empty.exit_code == 2
    assert "bt-train all" in empty.output
    (runs / "DenseNet121" / "history.csv").write_text("epoch,size\n1,many\n")
    with pytest.raises(IntegrityError, match="learning curve"):
        make_report(runs, read_manifest())


def test_read_collection_takes_usual_names_for_healthy(tmp_path: Path) -> None:
    for place in ("notumor/a.png", "deep/no/b.png", "glioma/c.png", "d.png"):
        path = tmp_path / "abroad" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((30, 50), 90, np.uint8)).save(path)
    (tmp_path / "abroad" / "no" / "broken.png").parent.mkdir()
    (tmp_path / "abroad" / "no" / "broken.png").write_bytes(b"none")
    collection = read_collection(tmp_path / "abroad")
    healthy = {name for name, label in zip(collection.data.files, collection.data.labels, strict=True) if label == 1}
    assert healthy == {"notumor/a.png", "deep/no/b.png"}
    assert (collection.name, len(collection.data), len(collection.unreadable)) == ("abroad", 4, 1)
    with pytest.raises(UsageError):
        read_collection(tmp_path / "abroad" / "glioma" / "nothing")


def test_foreign_figures_count_models_and_votes() -> None:
    labels = np.array([1, 1, -1, -1, -1])
    sure = np.eye(4)[[1, 0, 1, 2, 3]]
    answers = {name: Predictions(tuple("abcde"), labels, sure) for name in ("one", "two")}
    figures = dict(foreign_figures(answers, {"both": equal_vote(("one", "two")), "more": equal_vote(("one", "x"))}))
    assert list(figures) == ["one", "two", "both"]
    for model_figures in figures.values():
        assert model_figures.sensitivity is not None
        assert model_figures.specificity is not None
        assert (model_figures.sensitivity.count, model_figures.sensitivity.total) == (2, 3)
        assert (model_figures.specificity.count, model_figures.specificity.total) == (1, 2)


def test_bt_train_report_evaluates_a_foreign_folder(runs: Path, shipped_model: Path, tmp_path: Path) -> None:
    (tmp_path / "abroad" / "no").mkdir(parents=True)
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 255, (3, 60, 60), np.uint8)):
        Image.fromarray(pixels).save(tmp_path / "abroad" / ("no" if number else ".") / f"{number}.png")
    command = ["report", str(runs), "--out", str(tmp_path / "report"), "--foreign", str(tmp_path / "abroad")]
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 2
    shutil.copy(shipped_model, runs / "DenseNet121" / "DenseNet121.keras")
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    stored = json.loads((tmp_path / "report" / "report.json").read_text())["foreign"]["abroad"]
    assert list(stored) == ["DenseNet121"]
    assert stored["DenseNet121"]["sensitivity"]["total"] == 1
    assert stored["DenseNet121"]["specificity"]["total"] == 2
    assert "healthy called healthy" in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.parametrize("bits", [4, 8, 12])
def test_on_grid_keeps_weights_within_half_a_step(bits: int) -> None:
    values = np.random.default_rng(0).normal(size=(3, 3, 8, 16)).astype(np.float32)
    values[..., 5] = 0
    rounded = keras_file.on_grid(values, bits)
    assert rounded.dtype == np.float32
    largest = np.abs(values).max(axis=(0, 1, 2))
    assert np.all(np.abs(rounded - values).max(axis=(0, 1, 2)) <= largest / (2 ** (bits - 1) - 1))
    assert all(len(np.unique(rounded[..., channel])) < 2**bits for channel in range(16))
    assert np.array_equal(keras_file.on_grid(values[0, 0, 0], bits), values[0, 0, 0])


def test_bt_train_trains_evaluates_and_ships(tmp_path: Path, parts: Any, small_network: None) -> None:
    assert small_network is None
    data, runs = tmp_path / "data.npz", tmp_path / "runs"
    save_dataset(data, parts)
    runner = CliRunner()
    train = ["DenseNet121", "--data", str(data), "--out", str(runs), "--size", "32", "--epochs", "2"]
    done = runner.invoke(main, train)
    assert done.exit_code == 0, done.output
    file = runs / "DenseNet121" / "DenseNet121.keras"
    shipped = runner.invoke(main, ["ship", str(file), "--data", str(data), "--to", str(tmp_path / "out")])
    assert shipped.exit_code == 0, shipped.output
    card = (tmp_path / "out" / "DenseNet121.md").read_text()
    assert "random weights" in card
    assert "- Data: 96 training, 24 validation and 24 test slices of another data set" in card
    assert "bt-train" in card
    assert (tmp_path / "out" / "DenseNet121.keras").stat().st_size < file.stat().st_size
    before, after = (
        keras_file.predict_parts(keras_file.load_keras_file(path), parts, keras_file.crop_of(path))["val"]
        for path in (file, tmp_path / "out" / "DenseNet121.keras")
    )
    assert (before.argmax(axis=1) == after.argmax(axis=1)).all()
    evaluated = runner.invoke(main, ["evaluate", str(file), "--data", str(data), "--out", str(tmp_path / "again")])
    assert evaluated.exit_code == 0, evaluated.output
    assert (
        read_predictions(tmp_path / "again" / "DenseNet121" / "predictions.csv")["test"].files == parts["test"].files
    )


def test_ship_writes_the_card_of_a_file_of_other_origin(tmp_path: Path, parts: Any, small_keras: Any) -> None:
    names = tuple(row.file for row in read_manifest() if row.split == "test")[:24]
    renamed = parts | {"test": replace(parts["test"], files=names)}
    shipped = ship(small_keras(), renamed, frozenset(names[:12]), tmp_path / "out", None)
    card = shipped.path.with_suffix(".md").read_text()
    assert "The run that made these weights is not recorded." in card
    assert "- Data: the Kaggle brain tumour MRI data set, 96 training, 24 validation and 24 test slices" in card
    assert shipped.evaluation.leak_free is not None
    assert shipped.evaluation.leak_free.images == 12


def test_bt_train_explains_wrong_options(tmp_path: Path, small_keras: Any) -> None:
    runner = CliRunner()
    size = runner.invoke(main, ["DenseNet121", "--data", "x.npz", "--size", "large"])
    assert (size.exit_code, "96,128" in size.output) == (2, True)
    data = runner.invoke(main, ["DenseNet121", "--data", str(tmp_path / "x.npz")])
    assert (data.exit_code, "bt-data prepare" in data.output) == (2, True)
    help_text = runner.invoke(main, ["--help"]).output
    assert all(name in help_text for name in (*_NAMES, "all", "report", "evaluate", "ship"))
    with pytest.raises(ModelError, match="must be"):
        keras_file.load_keras_file(small_keras(channels=3))
    with pytest.raises(UsageError):
        make_report(tmp_path, read_manifest())


def test_bt_train_all_trains_the_four_in_turn(tmp_path: Path, parts: Any, small_network: None) -> None:
    assert small_network is None
    save_dataset(tmp_path / "data.npz", parts)
    options = ["--data", str(tmp_path / "data.npz"), "--out", str(tmp_path / "runs"), "--size", "80", "--epochs", "1"]
    done = CliRunner().invoke(main, ["all", *options])
    assert done.exit_code == 0, done.output
    assert [line.split(":")[0].split("/")[-1] for line in done.output.splitlines() if "best epoch" in line] == [
        f"{name}.keras" for name in _NAMES
    ]


def test_crop_of_refuses_a_damaged_file_and_defaults_to_none(tmp_path: Path) -> None:
    (tmp_path / "old.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    assert keras_file.crop_of(tmp_path / "old.h5") == "none"
    with zipfile.ZipFile(tmp_path / "odd.keras", "w") as archive:
        archive.writestr(SETTINGS_FILE, "[]")
    with pytest.raises(ModelError):
        keras_file.crop_of(tmp_path / "odd.keras")
