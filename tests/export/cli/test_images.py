"""Images of the verification, and the models of an export that names none."""

from pathlib import Path

import pytest
from PIL import Image

from braintumor.bench.data.phantoms import phantoms
from braintumor.errors import UsageError
from braintumor.export import cli
from braintumor.export.pipeline import default_models, verification_images
from braintumor.models.catalog import ENSEMBLE
from braintumor.runtime.bundle.load import load_bundle
from braintumor.runtime.image.resize import RESIZES

from .conftest import Keras, refused, run


def test_resizes_of_bt_export_are_those_of_the_library():
    assert RESIZES == cli._RESIZES


def test_bt_export_verifies_on_named_images(small_keras: Keras, tmp_path: Path):
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


def test_verification_images_are_spread_evenly_over_the_folder(tmp_path: Path):
    for index in range(640):
        (tmp_path / f"{index:03}.png").touch()
    chosen = verification_images(tmp_path)
    assert [path.name for path in chosen.paths] == [f"{index:03}.png" for index in range(0, 640, 10)]
    assert chosen.kind == "real"


def test_verification_images_leaves_hidden_ones_out(tmp_path: Path):
    for index in range(64):
        (tmp_path / f"{index:03}.png").touch()
        (tmp_path / f"._{index:03}.png").touch()
    notes: list[str] = []
    assert len({path.name.lstrip("._") for path in verification_images(tmp_path, notes.append).paths}) == 64
    assert ["(64, such as" in note for note in notes] == [True]


def test_verification_images_reads_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert verification_images(None).kind == "phantoms"
    monkeypatch.setenv("BRAINTUMOR_DATA", str(tmp_path / "gone"))
    with pytest.raises(UsageError, match="gone is not a folder"):
        verification_images(None)


def test_verification_images_ignores_a_file_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = tmp_path / "brain.npz"
    data.touch()
    monkeypatch.setenv("BRAINTUMOR_DATA", str(data))
    assert verification_images(None).kind == "phantoms"
    with pytest.raises(UsageError, match="npz is not a folder"):
        verification_images(data)


def test_bt_export_refuses_too_few_images(small_keras: Keras, tmp_path: Path):
    (tmp_path / "one.png").touch()
    (tmp_path / "notes.txt").touch()
    assert "holds 1 images; the verification needs 64" in refused(2, small_keras(), "--images", tmp_path)


def test_default_models_are_those_of_the_package():
    try:
        paths = default_models()
    except UsageError as error:
        assert "name one: bt-export MODEL.keras" in str(error)  # noqa: PT017 - a checkout without weights says so
    else:
        assert {path.stem for path in paths} <= set(ENSEMBLE)
        assert all(path.is_file() and path.suffix == ".keras" and path.parent.name == "pretrained" for path in paths)
