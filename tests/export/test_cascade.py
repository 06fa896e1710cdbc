"""Thresholds of cascades: shown to keep their risk, or refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from braintumor.bench.data.phantoms import phantoms
from braintumor.errors import IntegrityError, UsageError
from braintumor.export.cascade import THRESHOLDS, choose_threshold, require_enough_images, run_cascade
from braintumor.export.cascade_plan import read_cascade, save_cascade
from braintumor.export.graph.cost import multiply_adds
from braintumor.export.options import CascadeOptions, ExportOptions, MemberOptions
from braintumor.export.pipeline import export_bundle
from braintumor.export.verify.reference import VerificationImages
from braintumor.models.labels import CLASSES
from braintumor.runtime.bundle.load import Bundle, load_bundle
from braintumor.runtime.cascade import CASCADES_FILE, Cascade
from braintumor.runtime.ensemble import Ensemble
from braintumor.runtime.vote import soft_vote

pytestmark = pytest.mark.usefixtures("keras_in_process")

WEIGHTS = [1.0, 1.0, 1.0]


def members_of(rng: np.random.Generator, images: int, quality: float = 3.0) -> NDArray[np.float32]:
    """Three calibrated-looking members of one truth: float32 [3, images, 4]."""
    truth = rng.integers(0, 4, images)
    logits = rng.normal(0, 1, (3, images, 4)) + quality * rng.uniform(0, 2, (1, images, 1)) * np.eye(4)[truth]
    powers = np.exp(logits)
    rows: NDArray[np.float32] = (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
    return rows


def test_run_cascade_with_the_strictest_threshold_is_the_full_vote() -> None:
    outcome = run_cascade(members_of(np.random.default_rng(0), 500), WEIGHTS, [0, 1, 2], 1.0)
    assert outcome.labels_differing == 0
    assert 2 <= outcome.members_run_mean <= 3


def test_run_cascade_gets_cheaper_and_differs_more_with_looser_thresholds() -> None:
    probabilities = members_of(np.random.default_rng(1), 2000)
    outcomes = [run_cascade(probabilities, WEIGHTS, [2, 0, 1], threshold) for threshold in (0.999, 0.9, 0.6)]
    runs = [outcome.members_run_mean for outcome in outcomes]
    assert runs == sorted(runs, reverse=True)
    assert outcomes[-1].labels_differing > outcomes[0].labels_differing


def test_choose_threshold_keeps_the_risk_on_new_images_as_often_as_it_says() -> None:
    risk, exceeded = 0.02, 0
    fresh = members_of(np.random.default_rng(999), 20_000)
    for seed in range(40):
        threshold, _ = choose_threshold(members_of(np.random.default_rng(seed), 400), WEIGHTS, [0, 1, 2], risk)
        exceeded += run_cascade(fresh, WEIGHTS, [0, 1, 2], threshold).labels_differing / 20_000 > risk
    # 5 % of 40 are 2; more than 6 has a probability below 0.4 %.
    assert exceeded <= 6


def test_choose_threshold_takes_the_last_before_the_first_that_fails() -> None:
    probabilities = members_of(np.random.default_rng(3), 900)
    threshold, outcome = choose_threshold(probabilities, WEIGHTS, [0, 1, 2], 0.02)
    assert run_cascade(probabilities, WEIGHTS, [0, 1, 2], threshold) == outcome
    following = THRESHOLDS[THRESHOLDS.index(threshold) + 1]
    assert run_cascade(probabilities, WEIGHTS, [0, 1, 2], following).labels_differing > outcome.labels_differing


def test_choose_threshold_refuses_members_that_are_sure_and_wrong() -> None:
    probabilities = members_of(np.random.default_rng(4), 700)
    probabilities[0] = np.float32([1, 0, 0, 0])
    with pytest.raises(UsageError, match=r"of 700 images: a risk of 0.50% cannot be shown"):
        choose_threshold(probabilities, WEIGHTS, [0, 1, 2], 0.005)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty images in folders of classes."""
    for index, image in enumerate(phantoms(40, 48, 48)):
        path = tmp_path / "validation" / CLASSES[index % 4] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return tmp_path / "validation"


def test_require_enough_images_says_how_many_a_risk_takes(folder: Path) -> None:
    require_enough_images(CascadeOptions(folder, 0.08), CLASSES, 2)
    with pytest.raises(UsageError, match=r"has 40 images; to show a risk of 0.50% takes 598"):
        require_enough_images(CascadeOptions(folder), CLASSES, 2)
    with pytest.raises(UsageError, match="two members or more"):
        require_enough_images(CascadeOptions(folder, 0.08), CLASSES, 1)


@pytest.mark.parametrize("risk", [0.0, 1.0, -1.0])
def test_cascade_options_refuse_a_risk_out_of_range(risk: float) -> None:
    with pytest.raises(UsageError, match="`risk` must be > 0 and < 1"):
        CascadeOptions(Path(), risk)


def export_three(
    small_keras: Callable[..., Path], folder: Path, weight: float = 1.0, cascade: CascadeOptions | None = None
) -> Bundle:
    members = tuple(
        MemberOptions(small_keras(name, size=(32, 32), seed=seed), name, weight if name == "a" else 1.0, CLASSES)
        for seed, name in enumerate("abc")
    )
    options = ExportOptions(members, "fp32", folder, "bundle", VerificationImages((), 64), "", cascade=cascade)
    return load_bundle(export_bundle(options).folder)


@pytest.fixture
def three(small_keras: Callable[..., Path], tmp_path: Path) -> Bundle:
    return export_three(small_keras, tmp_path / "three")


def test_export_bundle_writes_a_cascade_that_the_runtime_follows(
    small_keras: Callable[..., Path], folder: Path, tmp_path: Path
) -> None:
    bundle = export_three(small_keras, tmp_path / "bundle", cascade=CascadeOptions(folder, 0.2))
    cascade = bundle.cascade
    assert cascade is not None
    assert (cascade.risk, cascade.images) == (0.2, 40)
    assert sorted(cascade.order) == ["a", "b", "c"]
    images = list(phantoms(40, 48, 48))
    with Ensemble.load(bundle, engine="onnxruntime-cpu", policy="cascade") as ensemble:
        predictions = list(ensemble.predict_many(images))
    assert np.mean([prediction.members_run for prediction in predictions]) == pytest.approx(cascade.members_run_mean)


def test_export_bundle_takes_over_a_cascade_that_was_saved_for_this_vote(
    small_keras: Callable[..., Path], folder: Path, tmp_path: Path
) -> None:
    models = small_keras("a", size=(32, 32), seed=0).parent
    chosen = export_three(small_keras, tmp_path / "b", cascade=CascadeOptions(folder, 0.2, save_to=models))
    assert export_three(small_keras, tmp_path / "again").cascade == chosen.cascade
    assert export_three(small_keras, tmp_path / "heavier", 2.0).cascade is None


@pytest.mark.parametrize("text", ["", "[]", '{"schema": "other"}', '{"schema": "braintumor.cascades/1"}'])
def test_read_cascade_refuses_another_file(three: Bundle, tmp_path: Path, text: str) -> None:
    (tmp_path / CASCADES_FILE).write_text(text)
    with pytest.raises(IntegrityError, match=CASCADES_FILE):
        read_cascade(tmp_path, three)


def test_read_cascade_refuses_a_threshold_out_of_range(three: Bundle, tmp_path: Path) -> None:
    cascade = Cascade(three.names, 0.9, 0.005, 0.95, 700, 0, 1.1, "0" * 64, "0" * 64)
    save_cascade(tmp_path, three, cascade)
    restored = read_cascade(tmp_path, three)
    assert restored is not None
    assert (restored.threshold, restored.order) == (0.9, three.names)
    path = tmp_path / CASCADES_FILE
    path.write_text(path.read_text().replace("0.9,", "1.5,"))
    with pytest.raises(IntegrityError, match="threshold"):
        read_cascade(tmp_path, three)


def test_multiply_adds_counts_convolutions_and_products(make_graph: Callable[..., Any], tmp_path: Path) -> None:
    import onnx
    from onnx import helper

    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["a"], ["b"]),
        helper.make_node("Flatten", ["b"], ["c"]),
        helper.make_node("MatMul", ["c", "dense"], ["y"]),
    ]
    constants = {"kernel": np.zeros((8, 1, 3, 3), np.float32), "dense": np.zeros((8, 4), np.float32)}
    path = tmp_path / "model.onnx"
    onnx.save(make_graph(nodes, constants, shape=(1, 16, 16), outputs={"y": [4]}), path)
    assert multiply_adds(path) == 16 * 16 * 8 * 9 + 8 * 4


def test_soft_vote_of_members_of_agrees_with_their_truth_mostly() -> None:
    rng = np.random.default_rng(5)
    rows = members_of(rng, 1000)
    agreement = (rows[0].argmax(axis=1) == soft_vote(rows, WEIGHTS).argmax(axis=1)).mean()
    assert 0.7 < agreement < 0.999
