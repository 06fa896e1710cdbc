"""The hot paths: each timed by pytest-benchmark, and its answer checked.

`make test` runs each once (--benchmark-disable); `make bench` times them, and `bt-bench compare` says what moved
between two `--benchmark-json` files.
"""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braintumor.runtime.bundle.load import load_bundle
from braintumor.runtime.ensemble import Ensemble
from braintumor.runtime.image.batching import prepared_groups
from braintumor.runtime.image.decode import read_grey, resize
from braintumor.runtime.image.loading import prepare_image
from braintumor.runtime.members import load_members
from braintumor.runtime.vote import soft_vote

BATCH = 32


def test_decode(benchmark: Any, scans: list[Path]) -> None:
    image = benchmark(read_grey, scans[0])
    assert image.pixels.shape == (512, 512)


def test_decode_in_two_threads(benchmark: Any, scans: list[Path]) -> None:
    with ThreadPoolExecutor(2) as pool:
        images = benchmark(lambda: list(pool.map(read_grey, scans[:8])))
    assert [image.sha256 for image in images] == [hashlib.sha256(path.read_bytes()).hexdigest() for path in scans[:8]]


def test_resize(benchmark: Any, scans: list[Path]) -> None:
    pixels = read_grey(scans[0]).pixels
    assert benchmark(resize, pixels, 96, 96).shape == (96, 96)


def test_batch_assembly(benchmark: Any, scans: list[Path], ensemble: Ensemble) -> None:
    """From files to one tensor: decoded and resized in threads, in their order."""
    geometries = ensemble.geometries

    def assemble() -> Any:
        groups = prepared_groups(
            scans, lambda path: prepare_image(path, set(geometries)), group_size=BATCH, threads=2
        )
        return [np.stack([image.pixels[geometries[0]] for image in group]) for group in groups]

    (batch,) = benchmark(assemble)
    assert (batch[5] == resize(read_grey(scans[5]).pixels, 96, 96)).all()


@pytest.mark.parametrize("batch", [1, BATCH])
def test_engine_call(benchmark: Any, bundle: Path, batch: int) -> None:
    images = np.zeros((batch, 96, 96), np.uint8)
    with load_members(load_bundle(bundle), "onnxruntime-cpu", device=0, threads=None) as members:
        answers = benchmark(members.engines[0].infer, images)
    assert answers.sum(axis=1) == pytest.approx(np.ones(batch), abs=1e-5)


def test_vote(benchmark: Any) -> None:
    answers = np.random.default_rng(0).dirichlet(np.ones(4), (3, BATCH)).astype(np.float32)
    votes = benchmark(soft_vote, answers, (1.0, 2.0, 3.0))
    assert votes == pytest.approx(np.average(answers, axis=0, weights=(1, 2, 3)), abs=1e-6)


def test_bundle_verification(benchmark: Any, bundle: Path) -> None:
    assert benchmark(load_bundle, bundle).name == "fast"


def test_record_making(benchmark: Any, ensemble: Ensemble, scans: list[Path]) -> None:
    """From decoded images to records, the members' work included."""
    group = [prepare_image(path, set(ensemble.geometries)) for path in scans]
    records = benchmark(ensemble._predict_batch, group)
    assert [record.status for record in records] == ["ok"] * len(scans)


def test_record_as_json(benchmark: Any, ensemble: Ensemble, scans: list[Path]) -> None:
    record = ensemble.predict(scans[0])
    assert json.loads(benchmark(record.to_json))["label"] == record.label


def test_whole_answer(benchmark: Any, ensemble: Ensemble, scans: list[Path]) -> None:
    records = benchmark(lambda: list(ensemble.predict_many(scans, batch_size=BATCH)))
    assert len(records) == len(scans)
