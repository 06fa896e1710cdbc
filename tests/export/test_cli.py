"""`bt-export` as it is typed: options, answers, exit codes; and what ends up in the bundle."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import braintumor
from braintumor.bench.data.phantoms import phantoms
from braintumor.errors import ModelError, UsageError
from braintumor.export import cli, pipeline
from braintumor.export.cli import export
from braintumor.export.member_arguments import member_name
from braintumor.export.pipeline import default_models, verification_images
from braintumor.models.catalog import ENSEMBLE
from braintumor.models.input_settings import SETTINGS_FILE, write_settings
from braintumor.models.labels import CLASSES, canonical_label
from braintumor.runtime.bundle.load import load_bundle
from braintumor.runtime.cli import infer
from braintumor.runtime.ensemble import Ensemble
from braintumor.runtime.image.head import crop_to_head
from braintumor.runtime.image.resize import RESIZES

Keras = Callable[..., Path]
Export = Callable[..., Result]


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in an empty working directory."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(export, [str(argument) for argument in arguments])


def refused(code: int, *arguments: Any) -> str:
    """The one line of an error with that exit code."""
    result = run(*arguments)
    assert result.exit_code == code, result.output
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith("Error: ")
    assert "Traceback" not in result.output
    return line


def test_help_and_version_are_told_without_loading_onnx(tmp_path: Path):
    code = (
        "import sys, braintumor.export.cli as cli\ntry: cli.main()\nexcept SystemExit as end: assert not end.code\n"
    )
    code += "sys.stderr.write(' '.join({name.partition('.')[0] for name in sys.modules}))"
    for option in ("--help", "--version"):
        command = [sys.executable, "-c", code, option]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, timeout=60)
        loaded = set(done.stderr.split())
        assert "click" in loaded
        assert not loaded & {"onnx", "onnxruntime", "numpy", "tensorflow", "keras", "PIL"}
        assert (braintumor.__version__ if option == "--version" else "--precision") in done.stdout


def test_an_export_says_what_it_did_and_where_the_bundle_is(small_keras: Keras):
    result = run(small_keras(), "--precision", "fp16")
    assert result.exit_code == 0, result.output
    bundle = load_bundle("bundles/fp16")
    assert re.fullmatch(rf"bundles/fp16: small, fp16, \d\.\d MB, sha256 {bundle.sha256[:12]}\n", result.stdout)
    assert re.search(r"small: fp16, 32x32 pixels, nodes \d+, answers 64 phantoms as Keras does", result.stderr)
    assert (bundle.name, bundle.classes, bundle.precision) == ("fp16", CLASSES, "fp16")


def test_the_bundle_says_where_its_member_comes_from(small_keras: Keras):
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


def test_the_same_export_twice_is_the_same_bundle(small_keras: Keras, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["bt-export", "small.keras"])
    for folder in ("one", "two"):
        assert run(small_keras(), "--name", "same", "--bundle", folder).exit_code == 0
    assert load_bundle("one").sha256 == load_bundle("two").sha256


def test_a_bundle_that_is_replaced_is_named(small_keras: Keras):
    options = ("--precision", "fp32", "--bundle", "mine")
    assert "replaced" not in run(small_keras(), *options).stdout
    old = load_bundle("mine").sha256[:12]
    assert run(small_keras("other", seed=1), *options).stdout.endswith(f"; replaced mine (small, {old})\n")
    Path("mine/bundle.json").write_text('{"schema": "braintumor.bundle/0", "members": []}')
    shutil.rmtree("mine/other")
    assert "; replaced mine (not readable any more, " in run(small_keras(), *options).stdout


def test_members_with_other_class_orders_end_in_one_order(small_keras: Keras):
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
            found = engine.infer(images)
        for index, name in enumerate(bundle.classes):
            np.testing.assert_allclose(found[:, index], answers[:, names.index(name)], atol=1e-5)


def test_an_order_that_nobody_stated_is_told_and_kept(
    grey_level_keras: Keras, grey_level_images: Callable[..., Path]
):
    options = ("--precision", "fp32", "--preprocess", "unit")
    result = run(grey_level_keras(), *options, "--bundle", "assumed")
    assert result.exit_code == 0, result.output
    assert f"assumed class order: {', '.join(CLASSES)}; state it with --classes (kaggle, if" in result.stderr
    assert load_bundle("assumed").members[0].details["source"]["classes_stated"] is False

    result = run(grey_level_keras(), *options, "--classes", "kaggle", "--bundle", "stated")
    assert "assumed" not in result.stderr
    assert load_bundle("stated").members[0].details["source"]["classes_stated"] is True

    images = grey_level_images(("glioma", "meningioma", "notumor", "pituitary"))
    told = "grey: class order assumed, not stated: glioma, healthy, meningioma, pituitary"
    for name, right in (("assumed", False), ("stated", True)):
        command = (str(images), "--bundle", name, "--engine", "onnxruntime-cpu", "--format")
        (line, *_) = CliRunner().invoke(infer, [*command, "jsonl"]).stdout.splitlines()
        assert json.loads(line)["bundle"].get("class_order") == (None if right else "assumed")
        answered = CliRunner().invoke(infer, [*command, "csv"])
        rows = list(csv.DictReader(answered.stdout.splitlines()))
        assert (told in answered.stderr) is not right
        wrong = [row for row in rows if row["label"] != canonical_label(Path(row["path"]).parent.name)]
        assert (len(rows), not wrong) == (12, right)
        assert (told in CliRunner().invoke(infer, [*command, "table"]).stdout) is not right


def test_the_order_of_a_model_of_our_builder_is_known(tmp_path: Path):
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


def test_per_model_options_go_to_their_model(small_keras: Keras):
    scaled, plain = small_keras(), small_keras("plain", scaling=False)
    result = run(
        scaled, plain, "--precision", "fp32",
        "--preprocess", "none", "--preprocess", "tf", "--resize", "antialias", "--resize", "tf-bilinear",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    members = load_bundle("bundles/fp32").members
    assert [member.details["source"]["preprocess"] for member in members] == ["none", "tf"]
    assert [member.resize for member in members] == ["antialias", "tf-bilinear"]


def test_every_way_of_resizing_can_be_named():
    assert RESIZES == cli._RESIZES


def test_scaling_inside_is_told_with_what_it_means(small_keras: Keras):
    told = "scaled inside, by layer 'rescaling': pixels go in as 0..255; if they were x/255 in training as well, give"
    assert re.search(told.replace("rescaling", r"rescaling\w*"), run(small_keras(), "--precision", "fp32").stderr)
    assert "scaled inside" not in run(small_keras(), "--precision", "fp32", "--preprocess", "unit").stderr
    assert load_bundle("bundles/fp32").members[0].details["source"].get("scaled_by") is None


def test_the_crop_is_taken_from_the_file_unless_an_option_says_otherwise(small_keras: Keras, tmp_path: Path):
    cropped = tmp_path / "cropped.keras"
    shutil.copy(small_keras(), cropped)
    with zipfile.ZipFile(cropped, "a") as archive:
        write_settings(archive, "head")
    for option, wanted in (([], ["head", "none"]), (["--crop", "none", "--crop", "head"], ["none", "head"])):
        result = run(cropped, small_keras(), "--precision", "fp32", *option)
        assert result.exit_code == 0, result.output
        members = load_bundle("bundles/fp32").members
        assert [member.crop for member in members] == wanted
        assert [member.geometry.crop for member in members] == wanted
    with Ensemble.load("bundles/fp32", engine="onnxruntime-cpu") as ensemble:
        head = np.pad(phantoms(1, 80, 80)[0], 30)
        found = ensemble.predict(head)
        alone = ensemble.predict(crop_to_head(head))
    same, other = (
        [np.array(list(record.members[number].probabilities.values())) for record in (found, alone)]
        for number in (1, 0)
    )
    assert np.allclose(*same)
    assert not np.allclose(*other)


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": "braintumor.model-input/1", "crop": "ears", "classes": []}'])
def test_settings_that_do_not_fit_are_refused(small_keras: Keras, tmp_path: Path, text: str):
    broken = tmp_path / "broken.keras"
    shutil.copy(small_keras(), broken)
    with zipfile.ZipFile(broken, "a") as archive:
        archive.writestr(SETTINGS_FILE, text)
    result = run(broken, "--precision", "fp32")
    assert result.exit_code == ModelError("").exit_code
    assert "broken.keras" in result.stderr


def test_real_images_are_used_where_they_are_named(small_keras: Keras, tmp_path: Path):
    folder = tmp_path / "images"
    for index, pixels in enumerate(phantoms(66, 40, 48, seed=2)):
        path = folder / f"{index % 3}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    result = run(small_keras(), "--precision", "fp32", "--images", folder, "--resize", "tf-bilinear")
    assert result.exit_code == 0, result.output
    (member,) = load_bundle("bundles/fp32").members
    assert (member.details["parity"]["images"], member.resize) == ("real", "tf-bilinear")
    assert "answers 64 images as Keras does" in result.stderr


def test_images_are_spread_evenly_over_the_folder(tmp_path: Path):
    for index in range(640):
        (tmp_path / f"{index:03}.png").touch()
    chosen = verification_images(tmp_path)
    assert [path.name for path in chosen.paths] == [f"{index:03}.png" for index in range(0, 640, 10)]
    assert chosen.kind == "real"


def test_the_environment_can_name_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert verification_images(None).kind == "phantoms"
    monkeypatch.setenv("BRAINTUMOR_DATA", str(tmp_path / "gone"))
    with pytest.raises(UsageError, match="gone is not a folder"):
        verification_images(None)


def test_too_few_images_are_refused(small_keras: Keras, tmp_path: Path):
    (tmp_path / "one.png").touch()
    (tmp_path / "notes.txt").touch()
    assert "holds 1 images; the verification needs 64" in refused(2, small_keras(), "--images", tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--vote", "1,2"], "has 2 weights for 1 models"),
        (["--vote", "one"], "is not a list of numbers"),
        (["--vote", ""], "is not a list of numbers"),
        (["--vote", "0"], "weight 0.0; must be > 0"),
        (["--vote", "-1"], "weight -1.0; must be > 0"),
        (["--vote", "nan"], "weight nan; must be > 0"),
        (["--vote", "inf"], "weight inf; must be > 0"),
        (["--new-classes"], "--new-classes takes unknown names in --classes, which is not given"),
        (["--classes", "no,healthy"], "1 different names of 2"),
        (["--classes", "glioma,meningoma,healthy,pituitary"], "meningoma: did you mean meningioma?"),
        (["--classes", "kaggle", "--classes", "kaggle"], "--classes is given 2 times for 1 models"),
        (["--preprocess", "tf", "--preprocess", "tf"], "--preprocess is given 2 times for 1 models"),
        (["--preprocess", "bgr"], "'bgr' is not one of"),
        (["--resize", "lanczos"], "'lanczos' is not one of"),
        (["--resize", "antialias", "--resize", "antialias"], "--resize is given 2 times for 1 models"),
        (["--precision", "fp8"], "'fp8' is not one of"),
        (["--size", "224"], "'224' is not a size"),
        (["--size", "0x224"], "is not a size"),
        (["--size", "224x224x3"], "is not a size"),
        (["--size", "-1x5"], "is not a size"),
        (["--size", "²x5"], "is not a size"),
        (["--size", "99999x99999"], "1 to 4096"),
        (["--images", "gone"], "gone is not a folder"),
        (["--colour"], "No such option"),
        (["--precision", "int8", "--calibrate", "gone"], "gone is not there"),
        (
            ["--calibrate", "there"],
            "--calibrate is for --precision int8 and mixed; --precision fp16 quantises nothing",
        ),
        (["--precision", "bf16", "--validate", "there"], "--validate is for --precision int8 and mixed"),
        (["--float-precision", "fp32"], "--float-precision is for --precision int8 and mixed"),
        (["--save-plans", "x", "--rest", "fp16"], "--float-precision, --save-plans are for --precision int8"),
        (["--precision", "int8", "--validate", "x"], "--validate without --calibrate"),
        (["--precision", "mixed", "--save-plans", "x"], "--save-plans without --calibrate"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_option_is_one_line_and_exit_code_2(small_keras: Keras, options: list[str], words: str):
    assert words in refused(2, small_keras(), *options)


def test_two_models_of_one_name_are_refused(small_keras: Keras, tmp_path: Path):
    copy = tmp_path / "best_small.keras"
    shutil.copy(small_keras(), copy)
    assert "two models are called small" in refused(2, small_keras(), copy)


def test_members_of_other_classes_are_refused_before_anything_is_converted(
    small_keras: Keras, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pipeline, "export_member", None)
    orders = ("--classes", "a,b,c,d", "--classes", "a,b,c,e", "--new-classes")
    line = refused(2, small_keras(), small_keras("other", seed=1), *orders)
    assert "members of one bundle must have the same classes" in line


def test_a_missing_last_model_is_told_before_the_first_is_converted(
    small_keras: Keras, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pipeline, "export_member", None)
    assert "gone.keras does not exist" in refused(2, small_keras(), "gone.keras")


def test_a_model_that_is_no_classifier_is_exit_code_3(small_keras: Keras):
    line = refused(3, small_keras(classes=3))
    assert "gives 3 values an image; without --classes they are taken for 4" in line
    assert "list its 3 classes in the order of the outputs" in line
    line = refused(3, small_keras(classes=3), "--classes", "healthy,glioma")
    assert "gives 3 values an image, and --classes lists 2: healthy,glioma" in line
    assert not Path("bundles").exists()


def test_a_result_that_does_not_agree_is_exit_code_3_and_leaves_no_bundle(
    small_keras: Keras, monkeypatch: pytest.MonkeyPatch
):
    from braintumor.export.verify import compare as verify

    monkeypatch.setattr(verify, "TOLERANCES", {"fp32": 0.0, "fp16": 0.0})
    monkeypatch.setenv("BRAINTUMOR_CACHE", str(Path("cache").absolute()))
    assert "does not answer what Keras 3." in refused(3, small_keras())
    assert not Path("bundles").exists()
    assert not [path for path in Path("cache/onnx-member").rglob("*") if path.is_file()]


def test_a_place_that_is_not_ours_is_exit_code_2_before_anything_is_converted(
    small_keras: Keras, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pipeline, "export_member", None)
    Path("taken").write_text("a file")
    assert "taken is not a folder" in refused(2, small_keras(), "--bundle", "taken")


def test_a_place_that_cannot_be_written_is_exit_code_2(small_keras: Keras):
    Path("file").write_text("")
    assert "cannot be written" in refused(2, small_keras(), "--bundle", "file/inside")


def test_a_traceback_is_shown_only_when_asked_for():
    assert "Traceback" not in run("gone.keras").output
    result = run("gone.keras", "--debug")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert result.stderr.strip().splitlines()[-1].startswith("Error: gone.keras does not exist")


def test_without_a_model_those_of_the_working_directory_are_taken(small_keras: Keras):
    Path("models").mkdir()
    shutil.copy(small_keras(), "models/best_EfficientNetV2M.keras")
    shutil.copy(small_keras("other", head="logits", seed=1), "models/DenseNet121.keras")
    result = run("--precision", "fp32")
    assert result.exit_code == 0, result.output
    assert [member.name for member in load_bundle("bundles/fp32").members] == ["DenseNet121", "EfficientNetV2M"]


def test_without_any_model_those_that_come_with_the_package_are_taken():
    try:
        found = default_models()
    except UsageError as error:
        assert "name one: bt-export MODEL.keras" in str(error)  # noqa: PT017 - a checkout without weights says so
    else:
        assert {path.stem for path in found} <= set(ENSEMBLE)
        assert all(path.is_file() and path.suffix == ".keras" and path.parent.name == "pretrained" for path in found)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("best_EfficientNetV2M.keras", "EfficientNetV2M"),
        ("my model (2).keras", "my_model__2_"),
        ("..keras.keras", "keras"),
        ("a/b/Größe-1.keras", "Größe-1"),
    ],
)
def test_a_member_is_called_as_its_file_as_far_as_a_folder_can_be(file: str, name: str):
    assert member_name(Path(file)) == name


@pytest.mark.parametrize("file", ["best_.keras", "...keras", "bundle.json.keras"])
def test_a_file_without_a_usable_name_is_refused(file: str):
    with pytest.raises(UsageError, match="rename it"):
        member_name(Path(file))


def test_the_installed_command_answers(small_keras: Keras):
    command = [str(Path(sys.executable).with_name("bt-export")), str(small_keras()), "--precision", "fp16"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ, timeout=120)
    assert done.returncode == 0, done.stderr
    assert load_bundle("bundles/fp16").details["command"].startswith("bt-export ")
