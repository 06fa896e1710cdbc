"""Verdicts on planted faults and on honest exports, of real models and real exports."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from braintumor.bench.accuracy.evaluate import BundleEvaluation, evaluate_bundles
from braintumor.bench.accuracy.gate import Evidence, PolicyResult, decide_verdict
from braintumor.bench.accuracy.options import AccuracyOptions
from braintumor.bench.accuracy.robustness import PERTURBATIONS
from braintumor.bench.cli import main
from braintumor.bench.data.labelled import LabelledImages
from braintumor.errors import UsageError
from braintumor.models.labels import CLASSES
from braintumor.runtime.bundle.acceptance import manifest_text
from braintumor.runtime.bundle.checksum import with_checksum
from braintumor.runtime.bundle.load import MANIFEST, Bundle, load_bundle
from braintumor.runtime.cli import infer

# Not one needs more for a margin of 0.5 point.
IMAGES = 600


class Silent:
    """Told how the judging goes on, and says nothing."""

    def begin(self, title: str, total: int | None = None) -> None: ...

    def tick(self, count: int = 1) -> None: ...


@pytest.fixture(scope="module")
def trained() -> ModuleType:
    """The module `trained.py` next to this file."""
    spec = importlib.util.spec_from_file_location("braintumor_tests_trained", Path(__file__).with_name("trained.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def originals(
    trained: ModuleType, small_keras: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Two trained `.keras` files; "b" is scaled outside."""
    folder = tmp_path_factory.mktemp("originals")
    images = trained.textured(400, seed=1)
    return {
        name: trained.train_head(
            small_keras(f"raw-{name}", seed=seed, scaling=inside),
            folder / f"{name}.keras",
            images,
            scaled_inside=inside,
        )
        for name, seed, inside in (("a", 0, True), ("b", 2, False))
    }


@pytest.fixture(scope="module")
def images(trained: ModuleType) -> LabelledImages:
    textured: LabelledImages = trained.textured(IMAGES, seed=2)
    return textured


@pytest.fixture(scope="module")
def honest(trained: ModuleType, originals: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Both as fp32. Not to be changed: copy it."""
    folder = tmp_path_factory.mktemp("honest") / "honest"
    bundle: Bundle = trained.exported(folder, originals, b={"preprocess": "tf"})
    return bundle


@pytest.fixture(scope="module")
def verdict(images: LabelledImages, originals: dict[str, Path]) -> Callable[..., BundleEvaluation]:
    """Judges a bundle, by its originals unless another reference is given."""

    def evaluate(bundle: Bundle, **options: Any) -> BundleEvaluation:
        defaults = {
            "engine": "onnxruntime-cpu",
            "robustness": 0,
            "models": (originals["a"].parent,),
            "batch_size": 200,
        }
        return evaluate_bundles([bundle], images, AccuracyOptions(**{**defaults, **options}), Silent())[0]

    return evaluate


def failed(evaluation: BundleEvaluation) -> dict[str, str]:
    """The findings that refused it."""
    return {finding.check: finding.text for finding in evaluation.result.verdict.findings if not finding.passed}


def test_verdict_accepts_honest_export_beside_keras(verdict: Callable[..., BundleEvaluation], honest: Bundle) -> None:
    evaluation = verdict(honest)
    assert evaluation.result.verdict.status == "accepted", evaluation.result.verdict.reason
    assert evaluation.result.comparison is not None
    assert evaluation.result.comparison.flips.count == 0
    assert evaluation.result.comparison.max_abs_difference is not None
    assert evaluation.result.comparison.max_abs_difference < 1e-5
    # The ensemble is right often, and not always: the verdict was no matter of course.
    assert 0.85 < evaluation.result.scores.accuracy < 0.99


def test_verdict_accepts_honest_fp16_beside_fp32(
    trained: ModuleType,
    originals: dict[str, Path],
    honest: Bundle,
    verdict: Callable[..., BundleEvaluation],
    tmp_path: Path,
) -> None:
    half = trained.exported(tmp_path / "fp16", originals, "fp16", b={"preprocess": "tf"})
    evaluation = verdict(half, reference=honest, reference_engine="onnxruntime-cpu")
    assert evaluation.result.verdict.status == "accepted", evaluation.result.verdict.reason


def test_verdict_refuses_swapped_classes_that_reference_has_too(
    trained: ModuleType, originals: dict[str, Path], verdict: Callable[..., BundleEvaluation], tmp_path: Path
) -> None:
    order = ("healthy", "glioma", "meningioma", "pituitary")
    wrong = {"classes": order}
    swapped = trained.exported(tmp_path / "swapped", originals, a=wrong, b={**wrong, "preprocess": "tf"})
    evaluation = verdict(swapped)
    assert evaluation.result.verdict.status == "refused"
    assert evaluation.result.comparison is not None
    assert evaluation.result.comparison.flips.count == 0
    assert failed(evaluation).keys() == {"classes"}
    # What the models really give: what is to be typed.
    assert "export it again with --classes glioma,healthy,meningioma,pituitary" in failed(evaluation)["classes"]


def test_verdict_refuses_swapped_classes_of_one_member(
    trained: ModuleType, originals: dict[str, Path], verdict: Callable[..., BundleEvaluation], tmp_path: Path
) -> None:
    wrong = {"classes": ("glioma", "healthy", "pituitary", "meningioma")}
    evaluation = verdict(trained.exported(tmp_path / "swapped", originals, a=wrong, b={"preprocess": "tf"}))
    assert evaluation.result.verdict.status == "refused"
    message = "a fits the truth if its outputs are taken as glioma,healthy,meningioma,pituitary"
    assert failed(evaluation)["classes"].startswith(message)


def test_verdict_refuses_member_with_wrong_scaling(
    trained: ModuleType,
    originals: dict[str, Path],
    honest: Bundle,
    verdict: Callable[..., BundleEvaluation],
    tmp_path: Path,
) -> None:
    wrong = trained.exported(tmp_path / "unscaled", originals, b={"preprocess": "none"})
    evaluation = verdict(wrong, reference=honest, reference_engine="onnxruntime-cpu")
    assert evaluation.result.verdict.status == "refused"
    assert failed(evaluation)["member accuracy"].startswith("b is worse than its reference")


def test_verdict_refuses_wrong_scaling_in_graph_beside_keras(
    trained: ModuleType, honest: Bundle, verdict: Callable[..., BundleEvaluation], tmp_path: Path
) -> None:
    def scale(model: Any) -> None:
        (factor,) = trained.initializers(model, "in/scale")
        trained.rewrite(factor, lambda value: value * 127.5 / 255)

    evaluation = verdict(trained.tampered(honest, tmp_path / "scaled", "b", scale))
    assert evaluation.result.verdict.status == "refused"
    assert {"non-inferiority", "member accuracy"} & failed(evaluation).keys()


def test_verdict_refuses_fp16_overflow_in_one_layer(
    trained: ModuleType,
    originals: dict[str, Path],
    honest: Bundle,
    verdict: Callable[..., BundleEvaluation],
    tmp_path: Path,
) -> None:
    half = trained.exported(tmp_path / "fp16", originals, "fp16", b={"preprocess": "tf"})

    def overflow(model: Any) -> None:
        kernel = trained.weights(model)[-1]
        with np.errstate(over="ignore"):
            trained.rewrite(kernel, lambda value: value * np.float16(6e4) * np.float16(100))

    evaluation = verdict(
        trained.tampered(half, tmp_path / "overflow", "a", overflow),
        reference=honest,
        reference_engine="onnxruntime-cpu",
    )
    assert evaluation.result.verdict.status == "refused"
    assert f"a for {IMAGES} of {IMAGES} images" in failed(evaluation)["finite"]
    assert "non-inferiority" in failed(evaluation)


def test_verdict_refuses_missing_member(
    trained: ModuleType,
    originals: dict[str, Path],
    honest: Bundle,
    verdict: Callable[..., BundleEvaluation],
    tmp_path: Path,
) -> None:
    fewer = trained.exported(tmp_path / "fewer", {"a": originals["a"]})
    evaluation = verdict(fewer, reference=honest, reference_engine="onnxruntime-cpu")
    assert evaluation.result.verdict.status == "refused"
    assert "the reference has b" in failed(evaluation)["members"]


def test_verdict_refuses_quantisation_that_flips_one_percent(
    trained: ModuleType, honest: Bundle, verdict: Callable[..., BundleEvaluation], tmp_path: Path
) -> None:
    for bits in range(7, 2, -1):

        def quantise(model: Any, levels: int = 2 ** (bits - 1) - 1) -> None:
            for kernel in trained.weights(model):
                step = np.abs(trained.array(kernel)).max() / levels
                trained.rewrite(kernel, lambda value, step=step: np.rint(value / step) * step)

        evaluation = verdict(
            trained.tampered(honest, tmp_path / f"int{bits}", "a", quantise),
            reference=honest,
            reference_engine="onnxruntime-cpu",
        )
        assert evaluation.result.comparison is not None
        if evaluation.result.comparison.flips.share >= 0.01:
            break
    # No landslide: a tenth of the labels flipping would be seen without statistics.
    assert 0.01 <= evaluation.result.comparison.flips.share < 0.1
    assert evaluation.result.verdict.status == "refused"
    # Whether those labels turned out better or worse.
    assert "decisions" in failed(evaluation)


def test_verdict_on_too_few_images_names_number_needed(images: LabelledImages, honest: Bundle) -> None:
    options = AccuracyOptions(engine="onnxruntime-cpu", reference=honest, reference_engine="onnxruntime-cpu")
    evaluation = evaluate_bundles([honest], images.stratified(100), options, Silent())[0]
    assert evaluation.result.verdict.status == "not shown"
    assert "at least 539" in evaluation.result.verdict.reason


def test_verdict_without_reference_is_unjudged(verdict: Callable[..., BundleEvaluation], honest: Bundle) -> None:
    evaluation = verdict(honest, reference="none")
    assert evaluation.result.verdict.status == "unjudged"
    assert evaluation.result.comparison is None


def test_verdict_refuses_early_exit_that_changes_a_label(
    verdict: Callable[..., BundleEvaluation], honest: Bundle
) -> None:
    evaluation = verdict(honest, reference="none", policy="early-exit")
    assert evaluation.result.early_exit is not None
    assert evaluation.result.early_exit.labels_differing == 0
    assert 1 < evaluation.result.early_exit.members_run_mean < 2
    result = evaluation.result
    early = PolicyResult(100, 2, 1.1, 1, 1.0, 2.0)
    evidence = Evidence(CLASSES, result.scores, result.scores_by_member, result.stability, None, early)
    assert decide_verdict(evidence).status == "refused"


@pytest.mark.parametrize("points", [0.0, -1.0, 100.0])
def test_verdict_refuses_margin_out_of_range(
    verdict: Callable[..., BundleEvaluation], honest: Bundle, points: float
) -> None:
    with pytest.raises(UsageError, match="margin"):
        verdict(honest, reference="none", margin_points=points)


@pytest.fixture
def data(images: LabelledImages, tmp_path: Path) -> Path:
    """The images in the form of `bt-data prepare`."""
    path = tmp_path / "data.npz"
    np.savez(
        path,
        images=np.stack([images.read(index) for index in range(len(images))]),
        labels=images.labels,
        splits=np.full(len(images), "test"),
        files=np.array(images.names),
    )
    return path


def bench(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["accuracy", *map(str, arguments), "--engine", "onnxruntime-cpu"])


def test_accuracy_command_writes_verdict_that_bt_infer_shows(
    trained: ModuleType, originals: dict[str, Path], honest: Bundle, data: Path, tmp_path: Path
) -> None:
    good = trained.tampered(honest, tmp_path / "good", "a", lambda _: None)
    report = tmp_path / "report.json"
    models = originals["a"].parent
    done = bench(good.folder, "--data", data, "--models", models, "--json", report, "--robustness", 8)
    assert done.exit_code == 0, done.output
    assert "ACCEPTED: 0 of 600 labels flip" in done.output
    accepted = load_bundle(good.folder)
    assert accepted.sha256 == good.sha256
    assert accepted.acceptance is not None
    assert accepted.acceptance["judged_sha256"] == good.sha256
    scan = tmp_path / "scan.png"
    Image.fromarray(np.full((40, 40), 90, np.uint8)).save(scan)
    options = ["--bundle", str(good.folder), "--engine", "onnxruntime-cpu", str(scan)]
    table = CliRunner().invoke(infer, [*options, "--format", "table"])
    assert "verdict accepted on onnxruntime-cpu: " in table.output
    assert "0 labels differ from keras" in table.output
    record = json.loads(CliRunner().invoke(infer, [*options, "--format", "jsonl"]).output)
    assert record["bundle"]["verdict"] == "accepted"
    document = json.loads(report.read_text())
    assert document["schema"] == "braintumor.accuracy/1"
    assert document["accepted"] is True
    (bundle_result,) = document["bundles"]
    assert bundle_result["scores"]["correct"] == accepted.acceptance["correct"]
    assert bundle_result["robustness"]["images"] == bundle_result["reference"]["robustness"]["images"] == 8
    assert set(bundle_result["robustness"]["perturbations"]) == set(PERTURBATIONS)


def test_accuracy_command_and_bt_infer_name_unverified_members(
    trained: ModuleType, honest: Bundle, data: Path, tmp_path: Path
) -> None:
    bundle = trained.tampered(honest, tmp_path / "light", "a", lambda _: None)
    details = json.loads((bundle.folder / MANIFEST).read_text())
    details["members"][1]["parity"]["against_keras"] = False
    (bundle.folder / MANIFEST).write_text(manifest_text(with_checksum(details)))
    assert load_bundle(bundle.folder).unverified == ("b",)
    command = f"bt-export --verify {bundle.folder}"
    line = f"not verified against Keras: b; where Keras is installed, {command} does it"
    judgement = bench(bundle.folder, "--data", data, "--reference", "none", "--robustness", 0, "--no-record")
    assert line in judgement.output.splitlines()
    scan = tmp_path / "scan.png"
    Image.fromarray(np.full((40, 40), 90, np.uint8)).save(scan)
    for form, shown in (("table", "stdout"), ("jsonl", "stderr")):
        options = ["--engine", "onnxruntime-cpu", "--format", form, str(scan)]
        done = CliRunner().invoke(infer, ["--bundle", str(bundle.folder), *options])
        assert line in getattr(done, shown).splitlines()
        plain = CliRunner().invoke(infer, ["--bundle", str(honest.folder), *options])
        assert "not verified" not in plain.output


def test_accuracy_command_on_refused_bundle_exits_with_3(
    trained: ModuleType, originals: dict[str, Path], honest: Bundle, data: Path, tmp_path: Path
) -> None:
    fewer = trained.exported(tmp_path / "fewer", {"a": originals["a"]})
    done = bench(fewer.folder, "--data", data, "--reference", honest.folder, "--json", tmp_path / "report.json")
    assert done.exit_code == 3, done.output
    assert "REFUSED: " in done.output
    acceptance = load_bundle(fewer.folder).acceptance
    assert acceptance is not None
    assert acceptance["status"] == "refused"
    assert "the reference has b," in acceptance["reason"]
    (bundle_result,) = json.loads((tmp_path / "report.json").read_text())["bundles"]
    flipped = bundle_result["comparison"]["flipped"]
    assert len(flipped) == acceptance["flips"] > 0
    assert flipped[0]["label"] != flipped[0]["reference_label"]
    assert flipped[0]["png_base64"].startswith("iVBOR")


@pytest.mark.parametrize("options", [("--no-record",), ("--images", 40)])
def test_accuracy_command_leaves_bundle_without_record_or_on_some_images(
    honest: Bundle, data: Path, options: tuple[Any, ...]
) -> None:
    before = (honest.folder / MANIFEST).read_bytes()
    done = bench(
        *(honest.folder, "--data", data, "--reference", honest.folder, "--reference-engine", "onnxruntime-cpu"),
        *("--robustness", 0, *options),
    )
    assert done.exit_code in {0, 3}, done.output
    assert (honest.folder / MANIFEST).read_bytes() == before


def test_accuracy_command_on_missing_member_file_exits_with_4(
    trained: ModuleType, honest: Bundle, data: Path, tmp_path: Path
) -> None:
    broken = trained.tampered(honest, tmp_path / "broken", "a", lambda _: None)
    broken.members[1].path.unlink()
    done = bench(broken.folder, "--data", data)
    assert done.exit_code == 4
    assert "lacks b/model.onnx" in done.output


def test_accuracy_command_on_missing_keras_file_exits_with_5(honest: Bundle, data: Path, tmp_path: Path) -> None:
    done = bench(honest.folder, "--data", data, "--models", tmp_path)
    assert done.exit_code == 5
    assert "name its folder with --models" in done.output


def test_accuracy_command_with_too_few_or_no_images_exits_with_2(
    honest: Bundle, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BRAINTUMOR_DATA", raising=False)
    done = bench(honest.folder, "--data", data, "--images", 601)
    assert (done.exit_code, "holds 600 images; 601 are needed" in done.output) == (2, True)
    done = bench(honest.folder)
    assert (done.exit_code, "name them with --data" in done.output) == (2, True)
