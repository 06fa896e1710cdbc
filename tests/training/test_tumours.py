"""Slices with a tumour of unknown type."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from braintumor.bench.data.manifest import TUMOUR_SPLITS
from braintumor.bench.data.phantoms import phantoms
from braintumor.errors import IntegrityError, UsageError
from braintumor.training.cli import main as train_main
from braintumor.training.data.dataset import Dataset, load_dataset, save_dataset
from braintumor.training.data.predictions import read_predictions
from braintumor.training.data.targets import ANY_TUMOUR
from braintumor.training.data.tumours import read_parts, read_tumours
from braintumor.training.fit.checkpoint import RunFolder
from braintumor.training.fit.train import train_model
from braintumor.training.recipe import Recipe


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty phantoms of another shape, two of them twice."""
    place = tmp_path / "abroad" / "yes"
    place.mkdir(parents=True)
    images = phantoms(40, 90, 70, seed=5)
    for number, pixels in enumerate(images):
        Image.fromarray(pixels).save(place / f"y{number}.png")
    for number in (3, 8):
        Image.fromarray(images[number]).save(place / f"z{number}.png")
    (place / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    return tmp_path / "abroad"


def test_read_tumours_keeps_copies_in_one_part_and_proportions_as_they_are(folder: Path) -> None:
    tumours = read_tumours(folder)
    assert len(tumours.unreadable) == 1
    names = {split: set(tumours.parts[split].files) for split in TUMOUR_SPLITS}
    assert sum(map(len, names.values())) == 42
    for number in (3, 8):
        assert any({f"y{number}.png", f"z{number}.png"} <= part for part in names.values())
    train_part = tumours.parts["tumour-train"]
    assert (train_part.labels == ANY_TUMOUR).all()
    assert not train_part.images[:, :, :20].any(), "padded, not stretched"
    again = read_tumours(folder)
    assert [again.parts[split].files for split in TUMOUR_SPLITS] == [
        tumours.parts[split].files for split in TUMOUR_SPLITS
    ]


def test_read_tumours_takes_parts_from_a_table(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "parts.csv"
    names = [path.name for path in sorted(folder.rglob("*.png"))]
    table.write_text("file,part\n" + "".join(f"{name},{'dev' if 'z' in name else 'train'}\n" for name in names))
    tumours = read_tumours(folder, read_parts(table))
    assert tumours.parts["tumour-dev"].files == ("z3.png", "z8.png")
    table.write_text("file,part\ny0.png,test\n")
    with pytest.raises(UsageError, match="file,part"):
        read_parts(table)


@pytest.mark.parametrize("case", ["no image", "one part"])
def test_read_tumours_refuses_what_cannot_be_split(folder: Path, tmp_path: Path, case: str) -> None:
    listed: Any = None
    if case == "no image":
        folder = tmp_path / "empty"
        folder.mkdir()
    else:
        listed = {path.name: "tumour-train" for path in folder.rglob("*.png")}
    with pytest.raises(UsageError):
        read_tumours(folder, listed)


@pytest.fixture
def weak(parts: Any) -> dict[Any, Dataset]:
    """The small data set, and phantoms whose tumour is somewhere."""
    datasets = dict(parts)
    for number, split in enumerate(TUMOUR_SPLITS):
        images = phantoms(32, 48, 48, seed=40 + number)
        names = tuple(f"{split}-{index}.png" for index in range(len(images)))
        datasets[split] = Dataset(images, np.full(len(images), ANY_TUMOUR, np.int64), names)
    return datasets


def test_load_dataset_reads_saved_tumours(weak: Any, tmp_path: Path) -> None:
    path = tmp_path / "weak.npz"
    save_dataset(path, weak)
    again = load_dataset(path)
    assert list(again) == ["train", "val", "test", *TUMOUR_SPLITS]
    assert again["tumour-dev"].files == weak["tumour-dev"].files
    save_dataset(path, weak | {"tumour-dev": weak["val"]})
    with pytest.raises(IntegrityError, match="tumour-dev"):
        load_dataset(path)


@pytest.mark.usefixtures("small_network")
def test_train_model_learns_that_tumours_of_unknown_type_are_not_healthy(weak: Any, tmp_path: Path) -> None:
    recipe = Recipe(
        "DenseNet121", sizes=(32,), epochs=8, batch_size=16, seed=1, peak_learning_rate=2e-2, batchnorm_refresh=4
    )
    rows = train_model(recipe, weak, RunFolder(tmp_path)).rows
    assert rows[-1].tumours_found > 0.9
    assert rows[-1].train_loss < rows[0].train_loss


@pytest.mark.usefixtures("small_network")
def test_bt_train_trains_and_ships_with_tumours(weak: Any, tmp_path: Path) -> None:
    data, runs = tmp_path / "data.npz", tmp_path / "runs"
    save_dataset(data, weak)
    runner = CliRunner()
    train_it = ["DenseNet121", "--data", str(data), "--out", str(runs), "--size", "32", "--epochs", "2"]
    done = runner.invoke(train_main, train_it)
    assert done.exit_code == 0, done.output
    answers = read_predictions(runs / "DenseNet121" / "predictions.csv")
    assert (answers["tumour-dev"].labels == ANY_TUMOUR).all()
    result = json.loads((runs / "DenseNet121" / "result.json").read_text())
    assert 0 <= result["tumour-dev_accuracy"] <= 1
    file = runs / "DenseNet121" / "DenseNet121.keras"
    shipped = runner.invoke(train_main, ["ship", str(file), "--data", str(data), "--to", str(tmp_path / "out")])
    assert shipped.exit_code == 0, shipped.output
    card = (tmp_path / "out" / "DenseNet121.md").read_text()
    assert "/32 = " in card
    assert "32 slices of another collection" in card
