"""Members of a bundle by `bt-export`: classes, options, crop, names."""

import csv
import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from braintumor.bench.data.phantoms import phantoms
from braintumor.errors import ModelError, UsageError
from braintumor.export.member_arguments import member_name
from braintumor.models.input_settings import SETTINGS_FILE, write_settings
from braintumor.models.labels import CLASSES, canonical_label
from braintumor.runtime.bundle.load import load_bundle
from braintumor.runtime.cli import infer
from braintumor.runtime.ensemble import Ensemble
from braintumor.runtime.image.head import crop_to_head

from .conftest import Keras, run


def test_bt_export_records_the_source_of_a_member(small_keras: Keras):
    from braintumor.files import sha256_of

    assert run(small_keras(), "--precision", "fp32", "--name", "mine").exit_code == 0
    (member,) = load_bundle("bundles/fp32").members
    source = member.details["source"]
    assert (source["file"], source["sha256"]) == ("small.keras", sha256_of(small_keras()))
    assert source["classes"] == list(CLASSES)
    assert source["dtype_policy"] == "float32"
    assert member.details["route"] == {"name": "direct", "reason": ""}
    assert member.details["parity"]["against_keras"]
    assert member.details["softmax_added"] is False
    assert set(member.details["parity"]["by_batch"]) == {"1", "7", "32"}
    assert set(member.details["tools"]) == {"numpy", "onnx", "onnx-ir", "onnxruntime"}


def test_bt_export_gives_the_same_bundle_twice(small_keras: Keras, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["bt-export", "small.keras"])
    for folder in ("one", "two"):
        assert run(small_keras(), "--name", "same", "--bundle", folder).exit_code == 0
    assert load_bundle("one").sha256 == load_bundle("two").sha256


def test_bt_export_brings_members_to_one_class_order(small_keras: Keras):
    import keras

    from braintumor.runtime.engines.onnxruntime import OnnxRuntimeCpuEngine

    order = ("pituitary", "glioma", "healthy", "meningioma")
    usual, other = small_keras(), small_keras("other", head="logits", seed=1)
    result = run(
        usual, other, "--precision", "fp32", "--vote", "1,2.5",
        "--classes", ",".join(CLASSES), "--classes", "pituitary_tumor,glioma,no tumor,meningioma",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "ends in logits, softmax added" in result.stderr
    bundle = load_bundle("bundles/fp32")
    assert bundle.classes == CLASSES
    assert [member.weight for member in bundle.members] == [1.0, 2.5]
    assert [member.details["softmax_added"] for member in bundle.members] == [False, True]
    images = phantoms(12, 32, 32, seed=9)
    pixels = images[..., np.newaxis].astype(np.float32)
    for member, path, names in zip(bundle.members, (usual, other), (CLASSES, order), strict=True):
        answers = np.asarray(keras.saving.load_model(path)(pixels))
        if path == other:
            answers = np.asarray(keras.ops.softmax(answers))
        with OnnxRuntimeCpuEngine(member) as engine:
            probabilities = engine.infer(images)
        for index, name in enumerate(bundle.classes):
            np.testing.assert_allclose(probabilities[:, index], answers[:, names.index(name)], atol=1e-5)


def test_bt_export_marks_an_assumed_class_order(grey_level_keras: Keras, grey_level_images: Callable[..., Path]):
    options = ("--precision", "fp32", "--preprocess", "unit")
    result = run(grey_level_keras(), *options, "--bundle", "assumed")
    assert result.exit_code == 0, result.output
    assert f"assumed class order: {', '.join(CLASSES)}; state it with --classes (kaggle, if" in result.stderr
    assert load_bundle("assumed").members[0].details["source"]["classes_stated"] is False

    result = run(grey_level_keras(), *options, "--classes", "kaggle", "--bundle", "stated")
    assert "assumed" not in result.stderr
    assert load_bundle("stated").members[0].details["source"]["classes_stated"] is True

    images = grey_level_images(("glioma", "meningioma", "notumor", "pituitary"))
    warning = "grey: class order assumed, not stated: glioma, healthy, meningioma, pituitary"
    for name, right in (("assumed", False), ("stated", True)):
        command = (str(images), "--bundle", name, "--engine", "onnxruntime-cpu", "--format")
        (line, *_) = CliRunner().invoke(infer, [*command, "jsonl"]).stdout.splitlines()
        assert json.loads(line)["bundle"].get("class_order") == (None if right else "assumed")
        answered = CliRunner().invoke(infer, [*command, "csv"])
        rows = list(csv.DictReader(answered.stdout.splitlines()))
        assert (warning in answered.stderr) is not right
        wrong = [row for row in rows if row["label"] != canonical_label(Path(row["path"]).parent.name)]
        assert (len(rows), not wrong) == (12, right)
        assert (warning in CliRunner().invoke(infer, [*command, "table"]).stdout) is not right


def test_bt_export_knows_the_class_order_of_own_models(tmp_path: Path):
    import keras

    layers = keras.layers
    # What the builder puts around a backbone; test_archive.py asks about a whole one.
    image = keras.Input((32, 32, 1), name="image")
    x = layers.GlobalAveragePooling2D(name="pool")(layers.Rescaling(1 / 255, name="scale")(image))
    x = layers.Dense(4, activation="softmax", name="probabilities")(layers.Dropout(0.3, name="dropout")(x))
    keras.Model(image, x, name="DenseNet121").save(tmp_path / "mine.keras")
    result = run(tmp_path / "mine.keras", "--precision", "fp32")
    assert result.exit_code == 0, result.output
    assert "assumed" not in result.stderr
    (member,) = load_bundle("bundles/fp32").members
    assert (member.details["source"]["classes"], member.details["source"]["classes_stated"]) == (list(CLASSES), True)


def test_bt_export_gives_each_model_its_options(small_keras: Keras):
    scaled, plain = small_keras(), small_keras("plain", scaling=False)
    result = run(
        scaled, plain, "--precision", "fp32",
        "--preprocess", "none", "--preprocess", "tf", "--resize", "antialias", "--resize", "tf-bilinear",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    members = load_bundle("bundles/fp32").members
    assert [member.details["source"]["preprocess"] for member in members] == ["none", "tf"]
    assert [member.resize for member in members] == ["antialias", "tf-bilinear"]


def test_bt_export_takes_the_crop_of_the_file_or_the_option(small_keras: Keras, tmp_path: Path):
    cropped = tmp_path / "cropped.keras"
    shutil.copy(small_keras(), cropped)
    with zipfile.ZipFile(cropped, "a") as archive:
        write_settings(archive, "head")
    for option, expected in (([], ["head", "none"]), (["--crop", "none", "--crop", "head"], ["none", "head"])):
        result = run(cropped, small_keras(), "--precision", "fp32", *option)
        assert result.exit_code == 0, result.output
        members = load_bundle("bundles/fp32").members
        assert [member.crop for member in members] == expected
        assert [member.geometry.crop for member in members] == expected
    with Ensemble.load("bundles/fp32", engine="onnxruntime-cpu") as ensemble:
        head = np.pad(phantoms(1, 80, 80)[0], 30)
        prediction = ensemble.predict(head)
        alone = ensemble.predict(crop_to_head(head))
    same, other = (
        [np.array(list(record.members[number].probabilities.values())) for record in (prediction, alone)]
        for number in (1, 0)
    )
    assert np.allclose(*same)
    assert not np.allclose(*other)


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": "braintumor.model-input/1", "crop": "ears", "classes": []}'])
def test_bt_export_refuses_damaged_settings(small_keras: Keras, tmp_path: Path, text: str):
    broken = tmp_path / "broken.keras"
    shutil.copy(small_keras(), broken)
    with zipfile.ZipFile(broken, "a") as archive:
        archive.writestr(SETTINGS_FILE, text)
    result = run(broken, "--precision", "fp32")
    assert result.exit_code == ModelError("").exit_code
    assert "broken.keras" in result.stderr


def test_bt_export_takes_the_models_of_the_working_directory(small_keras: Keras):
    Path("models").mkdir()
    shutil.copy(small_keras(), "models/best_EfficientNetV2M.keras")
    shutil.copy(small_keras("other", head="logits", seed=1), "models/DenseNet121.keras")
    result = run("--precision", "fp32")
    assert result.exit_code == 0, result.output
    assert [member.name for member in load_bundle("bundles/fp32").members] == ["DenseNet121", "EfficientNetV2M"]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("best_EfficientNetV2M.keras", "EfficientNetV2M"),
        ("my model (2).keras", "my_model__2_"),
        ("..keras.keras", "keras"),
        ("a/b/Größe-1.keras", "Größe-1"),
    ],
)
def test_member_name_follows_the_file(file: str, name: str):
    assert member_name(Path(file)) == name


@pytest.mark.parametrize("file", ["best_.keras", "...keras", "bundle.json.keras"])
def test_member_name_refuses_a_file_without_a_usable_name(file: str):
    with pytest.raises(UsageError, match="rename it"):
        member_name(Path(file))
