"""The shipped ensemble on the 703 real test images: what is deployed decides what Keras decides."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from braintumor.bench.metrics.parity import parity
from braintumor.models.labels import CLASSES
from tests.support.paths import BIN

SUPPORTS = {"glioma": 158, "healthy": 199, "meningioma": 183, "pituitary": 163}

# Keras by itself: nothing of this package but the decoding, which both sides share.
KERAS = """
import sys, json, keras, numpy as np
from braintumor.runtime.image.decode import read_grey, resize
request = json.load(open(sys.argv[1]))
answers = []
for path in request["models"]:
    model = keras.saving.load_model(path, compile=False)
    _, height, width, _ = model.input_shape
    images = np.stack([resize(read_grey(file).pixels, height, width) for file in request["files"]])
    answers.append(model.predict(images[..., None].astype("float32"), batch_size=32, verbose=0))
np.save(sys.argv[2], np.mean(answers, axis=0))
"""


@pytest.fixture(scope="module")
def files(test_split: Path) -> list[Path]:
    paths = sorted(test_split.rglob("*.jpg"))
    assert {name: sum(path.parent.name == name for path in paths) for name in CLASSES} == SUPPORTS
    return paths


@pytest.fixture(scope="module")
def keras_answers(
    files: list[Path], shipped_models: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> np.ndarray:
    folder = tmp_path_factory.mktemp("keras-answers")
    request = {"models": [str(path) for path in shipped_models], "files": [str(path) for path in files]}
    (folder / "request.json").write_text(json.dumps(request))
    arguments = [str(folder / "request.json"), str(folder / "answers.npy")]
    subprocess.run([sys.executable, "-c", KERAS, *arguments], check=True, capture_output=True)
    return np.load(folder / "answers.npy")


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("fp16", 5e-3)])
def test_bt_infer_decides_what_keras_decides_on_the_703(
    files: list[Path],
    keras_answers: np.ndarray,
    shipped_models: list[Path],
    tmp_path: Path,
    precision: str,
    tolerance: float,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BRAINTUMOR_DATA", str(files[0].parents[1]))
    bundle = tmp_path / precision
    export = [BIN / "bt-export", "--precision", precision, "--bundle", bundle]
    subprocess.run(export, check=True, capture_output=True, cwd=tmp_path)
    members = json.loads((bundle / "bundle.json").read_bytes())["members"]
    assert [member["source"]["file"] for member in members] == [path.name for path in shipped_models]
    assert {member["parity"]["images"] for member in members} == {"real"}

    output = tmp_path / "answers.csv"
    infer = [BIN / "bt-infer", files[0].parents[1], "--bundle", bundle, "--output", output]
    subprocess.run(infer, check=True, capture_output=True)
    with output.open(newline="") as stream:
        rows = {row["path"]: row for row in csv.DictReader(stream)}
    answers = np.array([[float(rows[str(path)][name]) for name in CLASSES] for path in files], np.float32)

    agreement = parity(answers, keras_answers)
    truth = np.array([CLASSES.index(path.parent.name) for path in files])
    ours, theirs = (int((side.argmax(axis=1) == truth).sum()) for side in (answers, keras_answers))
    with capsys.disabled():
        print(
            f"\n{precision} on the 703: bt-infer {ours} right, Keras {theirs} right, {agreement.flips} flips, "
            f"max |dp| {agreement.max_abs_difference:.1e}"
        )
    assert [rows[str(path)]["label"] for path in files] == [CLASSES[index] for index in answers.argmax(axis=1)]
    assert agreement.flips == 0
    assert agreement.max_abs_difference <= tolerance
    assert ours == theirs
