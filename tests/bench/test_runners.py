"""The baselines and their registry."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from braintumor.bench.data.originals import keras_sources
from braintumor.bench.data.phantoms import phantoms
from braintumor.bench.latency.runners import registry
from braintumor.bench.latency.runners.detect_tumor import DetectTumorRunner
from braintumor.bench.latency.runners.keras import KerasRunner
from braintumor.bench.latency.runners.registry import BASELINES, BaselineEntry, baseline_entry, missing_reason
from braintumor.errors import UnavailableError, UsageError
from braintumor.export import ExportOptions, MemberOptions, VerificationImages, export_bundle
from braintumor.models.labels import CLASSES
from braintumor.models.spec import PREPROCESSES
from braintumor.runtime.bundle.load import load_bundle
from braintumor.runtime.engines.keras import KerasEngine
from braintumor.runtime.engines.onnxruntime import OnnxRuntimeCpuEngine
from tests.support.keras_worker import keras_in_this_process


def test_missing_reason_says_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = {**BASELINES, "absent": BaselineEntry("x:Y", ("no_such_module",), ("no-such-distribution",))}
    monkeypatch.setattr(registry, "BASELINES", absent)
    assert "no_such_module is not installed" in missing_reason("absent")
    assert "pip install no-such-distribution" in missing_reason("absent")
    assert missing_reason("onnxruntime") == ""


def test_baseline_entry_refuses_unknown_name() -> None:
    with pytest.raises(UsageError, match=r"no baseline is called 'torch'; must be of keras, onnxruntime, openvino"):
        baseline_entry("torch")


def test_keras_sources_finds_files_by_hash(
    small_bundle: Path, small_sources: tuple[Path, Path], tmp_path: Path
) -> None:
    plain, foreign = small_sources
    (tmp_path / "deep").mkdir()
    # The name of one on the contents of the other.
    shutil.copy(plain, tmp_path / "deep" / "foreign.keras")
    shutil.copy(foreign, tmp_path / "renamed.keras")
    paths = keras_sources(load_bundle(small_bundle), [tmp_path])
    assert paths == (tmp_path / "deep" / "foreign.keras", tmp_path / "renamed.keras")


def test_keras_sources_names_missing_file(small_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"plain\.keras with SHA-256 [0-9a-f]{16}…, is not in .*`models`"):
        keras_sources(load_bundle(small_bundle), [tmp_path])


@pytest.mark.parametrize("preprocess", PREPROCESSES)
def test_keras_runner_reference_and_export_scale_alike(
    small_keras: Callable[..., Path], tmp_path: Path, preprocess: str
) -> None:
    source = small_keras("outside", channels=3, scaling=False, seed=3)
    member = MemberOptions(source, "outside", 1.0, CLASSES, preprocess=preprocess)
    images = VerificationImages((), 64)
    options = ExportOptions((member,), "fp32", tmp_path / "one", "one", images, "bt-export")
    with keras_in_this_process():
        bundle = export_bundle(options)
    pixels = phantoms(8, 32, 32, seed=7)
    with KerasEngine(bundle.members[0], CLASSES, source) as reference:
        expected = reference.infer(pixels)
    assert (
        np.abs(KerasRunner(str(bundle.folder), models=[str(source)], threads=None).infer(0, pixels) - expected).max()
        < 1e-5
    )
    with OnnxRuntimeCpuEngine(bundle.members[0]) as engine:
        assert np.abs(engine.infer(pixels) - expected).max() < 1e-5


def test_detect_tumor_runner_gives_our_class_order(phantom_classes: Path) -> None:
    import detect_tumor

    scan = next(phantom_classes.rglob("*.png"))
    runner = DetectTumorRunner(threads=None)
    prediction = runner.predict([scan])
    assert prediction.vote.sum() == pytest.approx(1, abs=1e-3)
    named = {"notumor": "healthy"}
    result = detect_tumor.TumorDetector().predict(scan)
    assert CLASSES[int(prediction.vote[0].argmax())] == named.get(result.predicted_class, result.predicted_class)
    assert runner.info.engine.provider == "CPUExecutionProvider"


def test_detect_tumor_runner_refuses_threads() -> None:
    with pytest.raises(UnavailableError, match="no option for 2 threads"):
        DetectTumorRunner(threads=2)
