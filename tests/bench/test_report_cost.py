"""A report costs hardly more than the inferences that it reports on."""

import json
import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from braintumor.bench.cli import main
from braintumor.bench.data.phantoms import phantoms
from braintumor.models.labels import CLASSES
from tests.support.paths import BIN

IMAGES = 704
ENGINE = "onnxruntime-cpu"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many phantoms as the test set of the study has images, as <class>/<file>.png."""
    folder = tmp_path_factory.mktemp("many")
    for index, pixels in enumerate(phantoms(IMAGES, 224, 224, seed=7)):
        path = folder / CLASSES[index % len(CLASSES)] / f"{index:03}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


@pytest.mark.ratio
def test_report_takes_at_most_a_tenth_more_than_its_inferences(
    shipped_model: Path, many: Path, tmp_path: Path
) -> None:
    """The whole process, its start and the loading of Keras included; the promise holds for three members as well."""
    bundle = tmp_path / "fp32"
    subprocess.run([BIN / "bt-export", shipped_model, "--precision", "fp32", "--bundle", bundle], check=True)
    options = ("--data", many, "--models", shipped_model.parent, "--engine", ENGINE, "--batch", "32")
    start = time.perf_counter()
    done = subprocess.run([BIN / "bt-bench", "report", bundle, *options, "--out", tmp_path], check=False)
    wall_s = time.perf_counter() - start
    assert done.returncode in {0, 3}
    report = json.loads((tmp_path / "report.json").read_bytes())
    print(f"{wall_s:.1f} s for {report['inference_s']:.1f} s: {wall_s / report['inference_s']:.3f}")
    assert report["wall_s"] < wall_s
    assert wall_s <= 1.1 * report["inference_s"]


def test_report_asks_all_engines_about_all_images(small_bundle: Path, many: Path, tmp_path: Path) -> None:
    options = ("--data", many, "--reference", "none", "--engine", f"{ENGINE},openvino-cpu", "--robustness", 0)
    window = ("--batch", 32, "--seconds", 0.5, "--out", tmp_path)
    done = CliRunner().invoke(main, [str(value) for value in ("report", small_bundle, *options, *window)])
    assert done.exit_code in {0, 3}, done.output
    report = json.loads((tmp_path / "report.json").read_bytes())["latency"]
    assert (report["images"]["count"], report["images"]["decided"]) == (64, IMAGES)
    assert {value["decisions"]["images"] for value in report["contenders"]} == {IMAGES}
    assert {point["images"] for point in report["pareto"]} == {IMAGES}
    assert {point["engine"] for point in report["pareto"]} == {ENGINE, "openvino-cpu"}
    # Asked in another process and judged before: the same answers in the same order.
    assert all(value["decisions"]["max_abs_difference"] < 1e-3 for value in report["contenders"])
    assert f"judged on all {IMAGES} images" in (tmp_path / "report.html").read_text()
