"""`bt-export` as it is typed: options, text, exit codes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import braintumor
from braintumor.export import pipeline
from braintumor.models.labels import CLASSES
from braintumor.runtime.bundle.load import load_bundle

from .conftest import Keras, refused, run


def test_bt_export_help_and_version_load_no_onnx(tmp_path: Path):
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


def test_bt_export_reports_members_and_bundle(small_keras: Keras):
    result = run(small_keras(), "--precision", "fp16")
    assert result.exit_code == 0, result.output
    bundle = load_bundle("bundles/fp16")
    assert re.fullmatch(rf"bundles/fp16: small, fp16, \d\.\d MB, sha256 {bundle.sha256[:12]}\n", result.stdout)
    assert re.search(r"small: fp16, 32x32 pixels, nodes \d+, answers 64 phantoms as Keras does", result.stderr)
    assert (bundle.name, bundle.classes, bundle.precision) == ("fp16", CLASSES, "fp16")


def test_bt_export_names_a_bundle_that_it_replaces(small_keras: Keras):
    options = ("--precision", "fp32", "--bundle", "mine")
    assert "replaced" not in run(small_keras(), *options).stdout
    old = load_bundle("mine").sha256[:12]
    assert run(small_keras("other", seed=1), *options).stdout.endswith(f"; replaced mine (small, {old})\n")
    Path("mine/bundle.json").write_text('{"schema": "braintumor.bundle/0", "members": []}')
    shutil.rmtree("mine/other")
    assert "; replaced mine (not readable any more, " in run(small_keras(), *options).stdout


def test_bt_export_explains_scaling_inside(small_keras: Keras):
    line = "scaled inside, by layer 'rescaling': pixels go in as 0..255; if they were x/255 in training as well, give"
    assert re.search(line.replace("rescaling", r"rescaling\w*"), run(small_keras(), "--precision", "fp32").stderr)
    assert "scaled inside" not in run(small_keras(), "--precision", "fp32", "--preprocess", "unit").stderr
    assert load_bundle("bundles/fp32").members[0].details["source"].get("scaled_by") is None


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
def test_bt_export_refuses_a_wrong_option(small_keras: Keras, options: list[str], words: str):
    assert words in refused(2, small_keras(), *options)


def test_bt_export_refuses_two_models_of_one_name(small_keras: Keras, tmp_path: Path):
    copy = tmp_path / "best_small.keras"
    shutil.copy(small_keras(), copy)
    assert "two models are called small" in refused(2, small_keras(), copy)


def test_bt_export_refuses_members_of_other_classes_before_converting(
    small_keras: Keras, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pipeline, "export_member", None)
    orders = ("--classes", "a,b,c,d", "--classes", "a,b,c,e", "--new-classes")
    line = refused(2, small_keras(), small_keras("other", seed=1), *orders)
    assert "members of one bundle must have the same classes" in line


def test_bt_export_refuses_a_missing_model_before_converting(small_keras: Keras, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pipeline, "export_member", None)
    assert "gone.keras does not exist" in refused(2, small_keras(), "gone.keras")


def test_bt_export_refuses_another_number_of_classes(small_keras: Keras):
    line = refused(3, small_keras(classes=3))
    assert "gives 3 values an image; without --classes they are taken for 4" in line
    assert "list its 3 classes in the order of the outputs" in line
    line = refused(3, small_keras(classes=3), "--classes", "healthy,glioma")
    assert "gives 3 values an image, and --classes lists 2: healthy,glioma" in line
    assert not Path("bundles").exists()


def test_bt_export_refuses_a_result_that_does_not_agree(small_keras: Keras, monkeypatch: pytest.MonkeyPatch):
    from braintumor.export.verify import compare as verify

    monkeypatch.setattr(verify, "TOLERANCES", {"fp32": 0.0, "fp16": 0.0})
    monkeypatch.setenv("BRAINTUMOR_CACHE", str(Path("cache").absolute()))
    assert "does not answer what Keras 3." in refused(3, small_keras())
    assert not Path("bundles").exists()
    assert not [path for path in Path("cache/onnx-member").rglob("*") if path.is_file()]


def test_bt_export_refuses_a_foreign_folder_before_converting(small_keras: Keras, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pipeline, "export_member", None)
    Path("taken").write_text("a file")
    assert "taken is not a folder" in refused(2, small_keras(), "--bundle", "taken")


def test_bt_export_refuses_a_folder_that_cannot_be_written(small_keras: Keras):
    Path("file").write_text("")
    assert "cannot be written" in refused(2, small_keras(), "--bundle", "file/inside")


def test_bt_export_shows_a_traceback_with_debug_only():
    assert "Traceback" not in run("gone.keras").output
    result = run("gone.keras", "--debug")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert result.stderr.strip().splitlines()[-1].startswith("Error: gone.keras does not exist")


def test_installed_bt_export_answers(small_keras: Keras):
    command = [str(Path(sys.executable).with_name("bt-export")), str(small_keras()), "--precision", "fp16"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ, timeout=120)
    assert done.returncode == 0, done.stderr
    assert load_bundle("bundles/fp16").details["command"].startswith("bt-export ")
