"""An ensemble answers images in order, whatever they are, and its records say what happened."""

import itertools
import json
import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
from numpy.typing import NDArray
from PIL import Image

import braintumor
from braintumor.errors import InputError, IntegrityError, UnavailableError, UsageError
from braintumor.models.labels import CLASSES
from braintumor.runtime.arguments import limit_threads
from braintumor.runtime.bundle.load import load_bundle
from braintumor.runtime.ensemble import Ensemble
from braintumor.runtime.image.decode import read_grey
from braintumor.runtime.image.geometry import apply_geometry
from braintumor.runtime.image.sandbox import Sandbox
from braintumor.runtime.prediction import Prediction


@pytest.fixture(scope="module")
def ensemble(three: Path) -> Iterator[Ensemble]:
    with Ensemble.load(three, threads=1) as loaded:
        yield loaded


def votes(records: list[Prediction]) -> NDArray[np.float64]:
    return np.array([list(record.probabilities.values()) for record in records])


def test_braintumor_exports_ensemble() -> None:
    assert braintumor.Ensemble is Ensemble
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = braintumor.Nothing


def test_predict_is_the_same_for_path_bytes_and_pixels(ensemble: Ensemble, scans: list[Path]) -> None:
    with Image.open(scans[0]) as image:
        pixels = np.asarray(image)
    sources: list[Any] = [scans[0], str(scans[0]), scans[0].read_bytes(), pixels, np.dstack([pixels] * 3)]
    answers = [ensemble.predict(source) for source in sources]
    assert len({json.dumps(dict(answer.probabilities)) for answer in answers}) == 1
    assert [answer.input.path for answer in answers] == [str(scans[0]), str(scans[0]), None, None, None]
    assert [answer.input.format for answer in answers] == ["PNG", "PNG", "PNG", "array", "array"]
    assert answers[0].input.sha256 == answers[2].input.sha256 != answers[3].input.sha256


def test_predict_fills_every_field(ensemble: Ensemble, scans: list[Path], three: Path) -> None:
    record = ensemble.predict(scans[0])
    data = json.loads(record.to_json())
    assert list(data) == [
        "schema",
        "input",
        "status",
        "label",
        "probabilities",
        "margin",
        "entropy_nats",
        "policy",
        "risk",
        "members_run",
        "bounds",
        "members",
        "bundle",
        "engine",
        "timing_ms",
        "error",
        "notice",
    ]
    assert data["schema"] == "braintumor.prediction/1"
    assert data["notice"] == "Research use only. Not a medical device."
    assert (data["status"], data["error"]) == ("ok", None)
    assert data["input"] == {
        "path": str(scans[0]),
        "sha256": read_grey(scans[0]).sha256,
        "format": "PNG",
        "width": 80,
        "height": 96,
        "bits": 8,
        "frame": 0,
        "frames": 1,
        "orientation": 1,
        "transparent": False,
    }
    assert list(data["probabilities"]) == list(CLASSES)
    assert sum(data["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    assert data["label"] == max(data["probabilities"], key=data["probabilities"].get)
    first, second = sorted(data["probabilities"].values())[:1:-1]
    assert data["margin"] == pytest.approx(first - second, abs=1e-6)
    assert 0 <= data["entropy_nats"] <= 1.3863
    assert data["bundle"] == {
        "name": "three",
        "sha256": load_bundle(three).sha256,
        "precision": "fp32",
        "verdict": "not judged",
    }
    assert data["engine"]["name"] == "onnxruntime-cpu"
    assert data["engine"]["provider"] == "CPUExecutionProvider"
    assert data["engine"]["device"] == "cpu"
    assert data["timing_ms"].keys() == {"decode", "inference", "batch"}
    assert data["timing_ms"]["decode"] > 0
    assert data["timing_ms"]["inference"] > 0
    assert data["timing_ms"]["batch"] == 1


def test_predict_votes_by_the_weights(ensemble: Ensemble, exported: Callable[..., Path], scans: list[Path]) -> None:
    record = ensemble.predict(scans[1])
    assert [answer.name for answer in record.members] == ["a", "b", "c"]
    alone = []
    for answer in record.members:
        with Ensemble.load(exported(f"only-{answer.name}", "fp32", {answer.name: 1.0}), threads=1) as ensemble_of_one:
            own = ensemble_of_one.predict(scans[1])
        assert votes([own])[0] == pytest.approx(list(answer.probabilities.values()), abs=1e-6)
        assert own.label == answer.label
        alone.append(votes([own])[0])
    assert len({answer.label for answer in record.members}) > 1, "members that agree show nothing"
    assert votes([record])[0] == pytest.approx(np.average(alone, axis=0, weights=[1, 2, 3]), abs=1e-6)


def test_predict_many_is_the_same_for_every_batch_size(ensemble: Ensemble, scans: list[Path]) -> None:
    sources = scans * 3
    reference = [ensemble.predict(path) for path in sources]
    assert len({record.label for record in reference}) > 1
    for batch_size in (1, 7, 32):
        records = list(ensemble.predict_many(sources, batch_size=batch_size))
        assert [record.input.path for record in records] == [str(path) for path in sources]
        assert [record.label for record in records] == [record.label for record in reference]
        assert np.abs(votes(records) - votes(reference)).max() <= 1e-5
        assert records[0].timing_ms["batch"] == min(batch_size, len(sources))


def test_predict_of_fp16_decides_as_fp32(half: Path, single: Path, scans: list[Path]) -> None:
    with Ensemble.load(half) as small, Ensemble.load(single) as full:
        halves, fulls = (list(ensemble.predict_many(scans)) for ensemble in (small, full))
    assert halves[0].bundle["precision"] == "fp16"
    assert [record.label for record in halves] == [record.label for record in fulls]
    assert 0 < np.abs(votes(halves) - votes(fulls)).max() <= 5e-3


@pytest.mark.parametrize("bad", [{0}, {11}, {0, 11}, {3, 4}, {0, 1, 2, 3}, {4, 5, 6, 7}, set(range(12))])
def test_predict_many_gives_error_records_for_bad_files(
    ensemble: Ensemble, scans: list[Path], tmp_path: Path, bad: set[int]
) -> None:
    sources = [tmp_path / f"gone{i}.png" if i in bad else path for i, path in enumerate(scans)]
    records = list(ensemble.predict_many(sources, batch_size=4))
    assert [record.input.path for record in records] == [str(source) for source in sources]
    assert {i for i, record in enumerate(records) if record.status == "error"} == bad
    for index, record in enumerate(records):
        if index in bad:
            assert record.label is None
            assert record.error is not None
            assert record.error["type"] == "InputError"
            assert "no such file" in record.error["message"]
            assert record.input.sha256 is None
        else:
            assert record.label == ensemble.predict(sources[index]).label


def test_predict_raises_for_an_image_that_cannot_be_read(ensemble: Ensemble, tmp_path: Path) -> None:
    for source in (tmp_path / "gone.png", b"no image", np.zeros((4, 4)), np.zeros((0, 4), np.uint8)):
        with pytest.raises(InputError):
            ensemble.predict(source)  # type: ignore[arg-type]


def test_predict_many_gives_error_records_for_bad_bytes_and_arrays(ensemble: Ensemble, scans: list[Path]) -> None:
    records = list(ensemble.predict_many([b"", scans[0], np.zeros((2, 2), np.float64)]))  # type: ignore[list-item]
    assert [record.status for record in records] == ["error", "ok", "error"]
    assert records[0].input.path is None


def test_predict_many_in_a_sandbox_gives_the_same(ensemble: Ensemble, scans: list[Path], tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    sources = [*scans[:3], tmp_path / "broken.png", scans[3].read_bytes(), np.zeros((9, 9), np.uint8)]
    expected = [replace(record, timing_ms={}) for record in ensemble.predict_many(sources, batch_size=2)]
    with Sandbox(processes=2) as own:
        for sandbox in (True, own, own):
            records = ensemble.predict_many(sources, batch_size=2, sandbox=sandbox)
            assert [replace(record, timing_ms={}) for record in records] == expected


def test_predict_many_closed_early_ends_its_sandbox(ensemble: Ensemble, scans: list[Path]) -> None:
    others = set(psutil.Process().children())
    predictions = ensemble.predict_many(itertools.cycle(scans[:4]), batch_size=2, decode_threads=1, sandbox=True)
    assert next(predictions).status == "ok"
    assert set(psutil.Process().children()) > others
    predictions.close()  # type: ignore[attr-defined]
    assert set(psutil.Process().children()) <= others


def test_predict_many_answers_an_endless_source(ensemble: Ensemble, scans: list[Path]) -> None:
    records = ensemble.predict_many(itertools.cycle(scans), batch_size=2)
    taken = list(itertools.islice(records, 30))
    assert [record.input.path for record in taken[12:24]] == [str(path) for path in scans]
    records.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("braintumor-prepare")]
    assert ensemble.predict(scans[0]).status == "ok"


def test_predict_many_of_nothing_is_empty(ensemble: Ensemble) -> None:
    assert list(ensemble.predict_many([])) == []


@pytest.mark.parametrize(
    "options",
    [{"batch_size": 0}, {"batch_size": -3}, {"decode_threads": 0}, {"batch_size": 2.5}, {"batch_size": "8"}],
)
def test_predict_many_refuses_counts_below_1_at_the_call(ensemble: Ensemble, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="must be a whole number >= 1"):
        ensemble.predict_many([], **options)


@pytest.mark.parametrize("threads", [0, -3, "two", 1.5])
def test_load_refuses_invalid_threads(single: Path, threads: Any) -> None:
    with pytest.raises(UsageError, match="must be a whole number >= 1"):
        Ensemble.load(single, threads=threads)


def test_limit_threads_caps_at_the_cpus() -> None:
    assert limit_threads("threads", 100_000) == (os.cpu_count() or 1)
    assert limit_threads("threads", 1) == 1
    assert limit_threads("threads", None) is None


@pytest.mark.parametrize("sources", ["scan.png", b"bytes", Path("scan.png"), 7])
def test_predict_many_refuses_a_single_image_at_the_call(ensemble: Ensemble, sources: Any) -> None:
    with pytest.raises(UsageError, match=r"write \[image\], or use predict"):
        ensemble.predict_many(sources)


def test_predict_many_gives_error_records_for_other_kinds(ensemble: Ensemble, scans: list[Path]) -> None:
    with Image.open(scans[0]) as image:
        records = list(ensemble.predict_many([scans[0], None, image, 7, bytearray(scans[0].read_bytes())]))  # type: ignore[list-item]
    assert [record.status for record in records] == ["ok", "error", "error", "error", "ok"]
    messages = [record.error["message"] for record in records if record.error]
    assert "builtins.NoneType" in messages[0]
    assert "np.asarray(image.convert('L'))" in messages[1]
    assert records[4].probabilities == records[0].probabilities


@pytest.mark.parametrize("engine", ["onnxruntime-cpu", "openvino-cpu"])
def test_predict_is_the_same_in_threads_that_share_an_ensemble(engine: str, three: Path, scans: list[Path]) -> None:
    if engine == "openvino-cpu":
        pytest.importorskip("openvino")
    with Ensemble.load(three, engine=engine) as shared, ThreadPoolExecutor(4) as pool:
        alone = [shared.predict(scan) for scan in scans]
        together = list(pool.map(shared.predict, scans * 20))
    assert votes(together) == pytest.approx(np.concatenate([votes(alone)] * 20), abs=1e-7)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_predict_refuses_in_a_fork(ensemble: Ensemble, scans: list[Path]) -> None:
    messages = multiprocessing.get_context("fork").SimpleQueue()

    def use() -> None:
        try:
            ensemble.predict(scans[0])
        except UsageError as error:
            messages.put(str(error))

    with warnings.catch_warnings():
        # Python warns of forks of programs with threads: just what is tried.
        warnings.simplefilter("ignore", DeprecationWarning)
        worker = multiprocessing.get_context("fork").Process(target=use)
        worker.start()
    worker.join(30)
    assert worker.exitcode == 0
    assert "with Ensemble.load" in messages.get()


def test_predictions_share_no_state(ensemble: Ensemble, scans: list[Path]) -> None:
    first = ensemble.predict(scans[0])
    first.bundle["name"] = first.engine["name"] = "changed"  # type: ignore[index]
    second = ensemble.predict(scans[0])
    assert "changed" not in {second.bundle["name"], second.engine["name"]}


def test_predict_gives_an_error_for_non_finite_probabilities(
    handmade: Callable[..., Path],
    graph: Callable[..., onnx.ModelProto],
    black_png: Path,
    scans: list[Path],
) -> None:
    with Ensemble.load(handmade(graph(), graph())) as non_finite:
        records = list(non_finite.predict_many([scans[0], black_png, scans[1]]))
        assert non_finite.predict(black_png).status == "error"
    assert [record.status for record in records] == ["ok", "error", "ok"]
    assert records[1].error is not None
    assert "m0, m1 gave no finite probabilities" in records[1].error["message"]
    assert "precision='fp32'" in records[1].error["message"]
    json.loads(records[1].to_json(), parse_constant=pytest.fail)


def test_to_json_keeps_a_path_that_is_not_text(ensemble: Ensemble) -> None:
    (record,) = ensemble.predict_many(["caf\udce9.png"])
    assert json.loads(record.to_json().encode())["input"]["path"] == "caf\udce9.png"


def test_load_refuses_an_unknown_engine(single: Path) -> None:
    with pytest.raises(UsageError, match="'nope'"):
        Ensemble.load(single, engine="nope")


def without_cuda() -> bool:
    ort = pytest.importorskip("onnxruntime")
    return "CUDAExecutionProvider" not in ort.get_available_providers()


def test_load_never_replaces_a_missing_gpu_by_the_cpu(single: Path) -> None:
    if not without_cuda():
        pytest.skip("onnxruntime-gpu is installed here")
    for options in ({"engine": "onnxruntime-cuda"}, {"device": "cuda:0"}, {"device": "cuda"}):
        with pytest.raises(UnavailableError, match=r"pip install 'braintumor\[gpu\]'") as caught:
            Ensemble.load(single, **options)
        assert caught.value.exit_code == 5


def test_load_with_auto_takes_the_cpu_without_a_gpu(single: Path, scans: list[Path]) -> None:
    if not without_cuda():
        pytest.skip("onnxruntime-gpu is installed here")
    with Ensemble.load(single) as loaded:
        assert loaded.predict(scans[0]).engine["name"] == "onnxruntime-cpu"


@pytest.mark.parametrize("device", ["gpu:", "cuda:", "cuda:x", "cuda:-1", "cuda:²", "cuda:1:2", "cpu:0", "", "CUDA"])
def test_load_refuses_an_unknown_device(single: Path, device: str) -> None:
    with pytest.raises(UsageError, match=r"no device is called.*allowed are cpu, cuda, cuda:0"):
        Ensemble.load(single, device=device)


def test_load_takes_the_device_cpu(single: Path, scans: list[Path]) -> None:
    with Ensemble.load(single, device="cpu") as loaded:
        assert loaded.predict(scans[0]).engine["device"] == "cpu"
    with pytest.raises(UsageError, match="runs on cpu, got device cuda"):
        Ensemble.load(single, engine="onnxruntime-cpu", device="cuda:1")


def test_load_takes_a_loaded_bundle(single: Path, scans: list[Path]) -> None:
    with Ensemble.load(load_bundle(single)) as loaded:
        assert loaded.predict(scans[0]).bundle["name"] == "single"


def test_load_raises_integrity_error_for_a_member_that_does_not_load(
    handmade: Callable[..., Path], graph: Callable[..., onnx.ModelProto]
) -> None:
    broken = graph()
    broken.graph.node[0].op_type = "Concat"  # which has no attribute "to"
    with pytest.raises(IntegrityError, match=r"m1.*does not load"):
        Ensemble.load(handmade(graph(), broken))


def test_close_works_twice_and_predict_refuses_afterwards(single: Path, scans: list[Path]) -> None:
    loaded = Ensemble.load(single)
    loaded.close()
    loaded.close()
    with pytest.raises(UsageError, match=r"is closed; load it again"):
        loaded.predict(scans[0])


def test_predict_works_in_two_ensembles_at_once(three: Path, ensemble: Ensemble, scans: list[Path]) -> None:
    expected = [record.label for record in ensemble.predict_many(scans)]
    labels: dict[int, list[str | None]] = {}

    def work(number: int) -> None:
        with Ensemble.load(three, threads=1) as own:
            labels[number] = [record.label for record in own.predict_many(scans * 3, batch_size=5)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert labels == {0: expected * 3, 1: expected * 3}


def test_predict_gives_members_the_pixels_of_read_grey(ensemble: Ensemble, scans: list[Path]) -> None:
    grey = read_grey(scans[2]).pixels
    pixels = {geometry: apply_geometry(grey, geometry)[np.newaxis] for geometry in ensemble.geometries}
    members = ensemble.probabilities(pixels)
    record = ensemble.predict(scans[2])
    assert members.shape == (3, 1, 4)
    for row, answer in zip(members[:, 0], record.members, strict=True):
        assert row.tolist() == list(answer.probabilities.values())
