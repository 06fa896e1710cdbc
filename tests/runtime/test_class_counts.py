"""Bundles of other class counts than four: loaded, answered on every engine that is here, decided early, printed."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from braintumor.errors import IntegrityError
from braintumor.export import ExportOptions, MemberOptions, VerificationImages, export_bundle
from braintumor.export.cli import export
from braintumor.models.labels import CLASSES
from braintumor.runtime.bundle.load import load_bundle
from braintumor.runtime.cli import infer
from braintumor.runtime.ensemble import Ensemble
from tests.support.keras_worker import keras_in_this_process

LEVELS = {2: (40, 200), 5: (30, 78, 126, 174, 222)}
LONG = "a_class_with_a_long_name"
NAMES = ("glioma", "healthy", "meningioma", LONG, "metastasis")


@pytest.fixture(scope="module")
def bundle_of(
    grey_level_keras: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[int], Path]:
    """Exports an ensemble of three members that tells so many grey levels apart; the members' orders differ."""
    made: dict[int, Path] = {}

    def make(classes: int) -> Path:
        if classes not in made:
            names, levels = NAMES[:classes], LEVELS[classes]
            back = (grey_level_keras(levels=levels[::-1], head="logits"), names[::-1])
            there = (grey_level_keras(levels=levels, channels=1), names)
            members = tuple(
                MemberOptions(path, name, 1.0, order, preprocess="unit")
                for name, (path, order) in zip("abc", (there, back, there), strict=True)
            )
            folder = tmp_path_factory.mktemp("bundles") / f"of{classes}"
            options = ExportOptions(members, "fp32", folder, "of", VerificationImages((), 64), "bt-export")
            with keras_in_this_process():
                made[classes] = export_bundle(options).folder
        return made[classes]

    return make


@pytest.mark.parametrize("classes", LEVELS)
@pytest.mark.parametrize("engine", ["onnxruntime-cpu", "openvino-cpu"])
@pytest.mark.parametrize("policy", ["full", "early-exit"])
def test_predict_many_answers_any_number_of_classes(
    bundle_of: Callable[[int], Path], grey_level_images: Callable[..., Path], classes: int, engine: str, policy: str
) -> None:
    images = grey_level_images(NAMES[:classes], levels=LEVELS[classes])
    paths = sorted(images.rglob("*.png"))
    with Ensemble.load(bundle_of(classes), engine=engine, policy=policy) as ensemble:  # type: ignore[arg-type]
        records = list(ensemble.predict_many(paths))
    assert [record.label for record in records] == [path.parent.name for path in paths]
    for record in records:
        assert tuple(record.probabilities) == NAMES[:classes]
        assert sum(record.probabilities.values()) == pytest.approx(1)
        assert record.members_run == (3 if policy == "full" else 2)
        assert (record.bounds is None) == (policy == "full")


@pytest.mark.parametrize("classes", LEVELS)
def test_infer_prints_every_class_in_every_format(
    bundle_of: Callable[[int], Path], grey_level_images: Callable[..., Path], classes: int
) -> None:
    images = str(grey_level_images(NAMES[:classes], levels=LEVELS[classes]))
    printed = {}
    for form in ("csv", "jsonl", "table"):
        command = [images, "--bundle", str(bundle_of(classes)), "--engine", "onnxruntime-cpu", "--format", form]
        printed[form] = CliRunner().invoke(infer, command, catch_exceptions=False).stdout
    (row, *_), records = (
        list(csv.DictReader(io.StringIO(printed["csv"]))),
        [json.loads(line) for line in printed["jsonl"].splitlines()],
    )
    assert [float(row[name]) for name in NAMES[:classes]] == list(records[0]["probabilities"].values())
    head, *lines = printed["table"].splitlines()
    assert head.split() == ["image", "label", "vote", *NAMES[:classes]]
    # The columns stand below their names, however long these are.
    assert {len(line) for line in lines[: 3 * classes]} == {len(head)}


def test_predict_gives_two_classes_for_one_sigmoid_unit(
    small_keras: Callable[..., Path], phantom_files: Callable[..., list[Path]], tmp_path: Path
) -> None:
    import keras

    source = small_keras(classes=1, head="sigmoid")
    options = [str(source), "--precision", "fp32", "--classes", "healthy,tumor", "--new-classes"]
    done = CliRunner().invoke(export, [*options, "--bundle", str(tmp_path / "two")])
    assert done.exit_code == 0, done.output
    assert "one output unit: it is the probability of tumor, and 1 minus it that of healthy" in done.stderr
    paths = phantom_files(5, 32, 32, seed=4)
    with Ensemble.load(tmp_path / "two", engine="onnxruntime-cpu") as ensemble:
        assert ensemble.bundle.members[0].details["source"]["unit"] == "tumor"
        records = list(ensemble.predict_many(paths))
    images = np.stack([np.asarray(Image.open(path)) for path in paths])[..., np.newaxis].astype(np.float32)
    expected = np.asarray(keras.saving.load_model(source)(images))[:, 0]
    np.testing.assert_allclose([record.probabilities["tumor"] for record in records], expected, atol=1e-5)


def test_load_refuses_a_member_of_another_class_count(bundle_of: Callable[[int], Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle_of(5), tmp_path / "forged"))
    manifest = copy / "bundle.json"
    details = json.loads(manifest.read_text())
    details["classes"] = list(CLASSES)
    details.pop("checksum", None)
    for member in details["members"]:
        member["probe"] = None
    for probe in copy.glob("*/probe.*"):
        probe.unlink()
    manifest.write_text(json.dumps(details))
    load_bundle(copy)
    with pytest.raises(IntegrityError, match=r"\[batch, 4\]"):
        Ensemble.load(copy, engine="onnxruntime-cpu")
