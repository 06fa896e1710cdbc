"""The gate catches planted faults, each by its verdict, and lets an honest export pass. Real models, real exports."""

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
from braintumor.bench.accuracy.gate import EarlyExit, Evidence, decide_verdict
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

    def begin(self, step: str, images: int) -> None: ...

    def tick(self, images: int) -> None: ...


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
    found: LabelledImages = trained.textured(IMAGES, seed=2)
    return found


@pytest.fixture(scope="module")
def honest(trained: ModuleType, originals: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Both as fp32. Not to be changed: copy it."""
    folder = tmp_path_factory.mktemp("honest") / "honest"
    bundle: Bundle = trained.exported(folder, originals, b={"preprocess": "tf"})
    return bundle


@pytest.fixture(scope="module")
def verdict(images: LabelledImages, originals: dict[str, Path]) -> Callable[..., BundleEvaluation]:
    """Judges a bundle, by its originals unless another reference is given."""

    def ask(bundle: Bundle, **options: Any) -> BundleEvaluation:
        chosen = {"engine": "onnxruntime-cpu", "robustness": 0, "models": (originals["a"].parent,), "batch_size": 200}
        return evaluate_bundles([bundle], images, AccuracyOptions(**{**chosen, **options}), Silent())[0]

    return ask


def failed(found: BundleEvaluation) -> dict[str, str]:
    """The findings that refused it."""
    return {one.check: one.text for one in found.result.verdict.findings if not one.passed}


def test_an_honest_export_is_accepted_beside_keras(verdict: Callable[..., BundleEvaluation], honest: Bundle) -> None:
    found = verdict(honest)
    assert found.result.verdict.status == "accepted", found.result.verdict.reason
    assert found.result.comparison is not None
    assert found.result.comparison.flips.count == 0
    assert found.result.comparison.max_abs_difference is not None
    assert found.result.comparison.max_abs_difference < 1e-5
    # The ensemble is right often, and not always: the verdict was no matter of course.
    assert 0.85 < found.result.scores.accuracy < 0.99


def test_an_honest_half_precision_is_accepted_beside_full_precision(
    trained: ModuleType,
    originals: dict[str, Path],
    honest: Bundle,
    verdict: Callable[..., BundleEvaluation],
    tmp_path: Path,
) -> None:
    half = trained.exported(tmp_path / "fp16", originals, "fp16", b={"preprocess": "tf"})
    found = verdict(half, reference=honest, reference_engine="onnxruntime-cpu")
    assert found.result.verdict.status == "accepted", found.result.verdict.reason


def test_swapped_classes_of_all_members_are_refused_even_beside_originals_with_the_same_mistake(
    trained: ModuleType, originals: dict[str, Path], verdict: Callable[..., BundleEvaluation], tmp_path: Path
) -> None:
    order = ("healthy", "glioma", "meningioma", "pituitary")
    wrong = {"classes": order}
    swapped = trained.exported(tmp_path / "swapped", originals, a=wrong, b={**wrong, "preprocess": "tf"})
    found = verdict(swapped)
    assert found.result.verdict.status == "refused"
    assert found.result.comparison is not None
    assert found.result.comparison.flips.count == 0
    assert failed(found).keys() == {"classes"}
    # What the models really give: what is to be typed.
    assert "export it again with --classes glioma,healthy,meningioma,pituitary" in failed(found)["classes"]


def test_swapped_classes_of_one_member_are_refused_and_the_member_is_named(
    trained: ModuleType, originals: dict[str, Path], verdict: Callable[..., BundleEvaluation], tmp_path: Path
) -> None:
    wrong = {"classes": ("glioma", "healthy", "pituitary", "meningioma")}
    found = verdict(trained.exported(tmp_path / "swapped", originals, a=wrong, b={"preprocess": "tf"}))
    assert found.result.verdict.status == "refused"
    told = "a fits the truth if its outputs are taken as glioma,healthy,meningioma,pituitary"
    assert failed(found)["classes"].startswith(told)


def test_a_member_exported_with_the_wrong_scaling_is_refused_beside_a_right_one(
    trained: ModuleType,
    originals: dict[str, Path],
    honest: Bundle,
    verdict: Callable[..., BundleEvaluation],
    tmp_path: Path,
) -> None:
    wrong = trained.exported(tmp_path / "unscaled", originals, b={"preprocess": "none"})
    found = verdict(wrong, reference=honest, reference_engine="onnxruntime-cpu")
    assert found.result.verdict.status == "refused"
    assert failed(found)["member accuracy"].startswith("b is worse than its reference")


def test_a_wrong_scaling_in_the_graph_is_refused_beside_keras(
    trained: ModuleType, honest: Bundle, verdict: Callable[..., BundleEvaluation], tmp_path: Path
) -> None:
    def scale(model: Any) -> None:
        (factor,) = trained.initializers(model, "in/scale")
        trained.rewrite(factor, lambda value: value * 127.5 / 255)

    found = verdict(trained.tampered(honest, tmp_path / "scaled", "b", scale))
    assert found.result.verdict.status == "refused"
    assert {"non-inferiority", "member accuracy"} & failed(found).keys()


def test_an_overflow_of_half_precision_in_one_layer_is_refused_and_named(
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

    found = verdict(
        trained.tampered(half, tmp_path / "overflow", "a", overflow),
        reference=honest,
        reference_engine="onnxruntime-cpu",
    )
    assert found.result.verdict.status == "refused"
    assert f"a for {IMAGES} of {IMAGES} images" in failed(found)["finite"]
    assert "non-inferiority" in failed(found)


def test_a_missing_member_is_refused_and_named(
    trained: ModuleType,
    originals: dict[str, Path],
    honest: Bundle,
    verdict: Callable[..., BundleEvaluation],
    tmp_path: Path,
) -> None:
    fewer = trained.exported(tmp_path / "fewer", {"a": originals["a"]})
    found = verdict(fewer, reference=honest, reference_engine="onnxruntime-cpu")
    assert found.result.verdict.status == "refused"
    assert "the reference has b" in failed(found)["members"]


def test_a_quantisation_that_flips_one_percent_of_the_images_is_refused(
    trained: ModuleType, honest: Bundle, verdict: Callable[..., BundleEvaluation], tmp_path: Path
) -> None:
    for bits in range(7, 2, -1):

        def quantise(model: Any, levels: int = 2 ** (bits - 1) - 1) -> None:
            for kernel in trained.weights(model):
                step = np.abs(trained.array(kernel)).max() / levels
                trained.rewrite(kernel, lambda value, step=step: np.rint(value / step) * step)

        found = verdict(
            trained.tampered(honest, tmp_path / f"int{bits}", "a", quantise),
            reference=honest,
            reference_engine="onnxruntime-cpu",
        )
        assert found.result.comparison is not None
        if found.result.comparison.flips.share >= 0.01:
            break
    # No landslide: a tenth of the labels flipping would be seen without statistics.
    assert 0.01 <= found.result.comparison.flips.share < 0.1
    assert found.result.verdict.status == "refused"
    # Whether those labels turned out better or worse.
    assert "decisions" in failed(found)


def test_too_few_images_accept_nothing_and_the_number_needed_is_told(images: LabelledImages, honest: Bundle) -> None:
    options = AccuracyOptions(engine="onnxruntime-cpu", reference=honest, reference_engine="onnxruntime-cpu")
    found = evaluate_bundles([honest], images.stratified(100), options, Silent())[0]
    assert found.result.verdict.status == "refused"
    assert "at least 539 are needed" in found.result.verdict.reason


def test_without_a_reference_nothing_is_accepted(verdict: Callable[..., BundleEvaluation], honest: Bundle) -> None:
    found = verdict(honest, reference="none")
    assert found.result.verdict.status == "unjudged"
    assert found.result.comparison is None


def test_early_exit_is_judged_by_the_labels_of_the_full_vote(
    verdict: Callable[..., BundleEvaluation], honest: Bundle
) -> None:
    found = verdict(honest, reference="none", policy="early-exit")
    assert found.result.early_exit is not None
    assert found.result.early_exit.labels_differing == 0
    assert 1 < found.result.early_exit.members_run_mean < 2
    one = found.result
    early = EarlyExit(100, 2, 1.1, 1, 1.0, 2.0)
    evidence = Evidence(CLASSES, one.scores, one.scores_by_member, one.stability, None, early)
    assert decide_verdict(evidence).status == "refused"


@pytest.mark.parametrize("points", [0.0, -1.0, 100.0])
def test_a_margin_that_is_none_is_refused(
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


def test_the_command_accepts_writes_the_verdict_and_bt_infer_tells_it(
    trained: ModuleType, originals: dict[str, Path], honest: Bundle, data: Path, tmp_path: Path
) -> None:
    good = trained.tampered(honest, tmp_path / "good", "a", lambda _: None)
    report = tmp_path / "report.json"
    models = originals["a"].parent
    done = bench(good.folder, "--data", data, "--models", models, "--json", report, "--robustness", 8)
    assert done.exit_code == 0, done.output
    assert "ACCEPTED: 0 of 600 labels flip" in done.output
    judged_bundle = load_bundle(good.folder)
    assert judged_bundle.sha256 == good.sha256
    assert judged_bundle.acceptance is not None
    assert judged_bundle.acceptance["judged_sha256"] == good.sha256
    scan = tmp_path / "scan.png"
    Image.fromarray(np.full((40, 40), 90, np.uint8)).save(scan)
    options = ["--bundle", str(good.folder), "--engine", "onnxruntime-cpu", str(scan)]
    table = CliRunner().invoke(infer, [*options, "--format", "table"])
    assert "verdict accepted on onnxruntime-cpu: " in table.output
    assert "0 labels differ from keras" in table.output
    record = json.loads(CliRunner().invoke(infer, [*options, "--format", "jsonl"]).output)
    assert record["bundle"]["verdict"] == "accepted"
    told = json.loads(report.read_text())
    assert told["schema"] == "braintumor.accuracy/1"
    assert told["accepted"] is True
    (one,) = told["bundles"]
    assert one["scores"]["correct"] == judged_bundle.acceptance["correct"]
    assert one["robustness"]["images"] == one["reference"]["robustness"]["images"] == 8
    assert set(one["robustness"]["perturbations"]) == set(PERTURBATIONS)


def test_a_bundle_that_was_not_verified_against_keras_is_shown_as_such_with_the_command_that_does_it(
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


def test_the_command_refuses_with_code_3_and_the_verdict_says_why(
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
    (one,) = json.loads((tmp_path / "report.json").read_text())["bundles"]
    flipped = one["comparison"]["flipped"]
    assert len(flipped) == acceptance["flips"] > 0
    assert flipped[0]["label"] != flipped[0]["reference_label"]
    assert flipped[0]["png_base64"].startswith("iVBOR")


@pytest.mark.parametrize("options", [("--no-record",), ("--images", 40)])
def test_without_a_record_or_with_some_of_the_images_the_bundle_is_left_as_it_is(
    honest: Bundle, data: Path, options: tuple[Any, ...]
) -> None:
    before = (honest.folder / MANIFEST).read_bytes()
    done = bench(
        *(honest.folder, "--data", data, "--reference", honest.folder, "--reference-engine", "onnxruntime-cpu"),
        *("--robustness", 0, *options),
    )
    assert done.exit_code in {0, 3}, done.output
    assert (honest.folder / MANIFEST).read_bytes() == before


def test_a_lost_file_of_a_member_is_one_line_and_code_4(
    trained: ModuleType, honest: Bundle, data: Path, tmp_path: Path
) -> None:
    broken = trained.tampered(honest, tmp_path / "broken", "a", lambda _: None)
    broken.members[1].path.unlink()
    done = bench(broken.folder, "--data", data)
    assert done.exit_code == 4
    assert "lacks b/model.onnx" in done.output


def test_originals_that_are_nowhere_are_one_line_and_code_5(honest: Bundle, data: Path, tmp_path: Path) -> None:
    done = bench(honest.folder, "--data", data, "--models", tmp_path)
    assert done.exit_code == 5
    assert "name its folder with --models" in done.output


def test_too_few_images_and_no_images_are_usage(honest: Bundle, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BRAINTUMOR_DATA", raising=False)
    done = bench(honest.folder, "--data", data, "--images", 601)
    assert (done.exit_code, "holds 600 images; 601 are needed" in done.output) == (2, True)
    done = bench(honest.folder)
    assert (done.exit_code, "name them with --data" in done.output) == (2, True)
