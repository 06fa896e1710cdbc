"""What the hot paths may cost beside the bare work, as ratios of two that run in turns: never an absolute time.

Marked `ratio`: they say something only where nothing else runs, as under `make bench`.
"""

import hashlib
import json
import os
import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from braintumor.bench.data.phantoms import phantoms
from braintumor.bench.metrics.ratio import Ratio
from braintumor.bench.metrics.timing import timed_ms, timer_overhead_ms
from braintumor.runtime.bundle.load import listed_files, load_bundle
from braintumor.runtime.ensemble import Ensemble
from braintumor.runtime.image.batching import prepared_groups
from braintumor.runtime.image.decode import read_grey
from braintumor.runtime.image.loading import PreparedImage, prepare_image
from braintumor.runtime.members import load_members
from braintumor.runtime.vote import soft_vote

InTurns = Callable[[Callable[[], Any], Callable[[], Any]], Ratio]

pytestmark = pytest.mark.ratio

BATCH = 32


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return phantoms(BATCH, 96, 96, seed=1)


@pytest.fixture(scope="module")
def group(ensemble: Ensemble, scans: list[Path]) -> list[PreparedImage]:
    return [prepare_image(path, set(ensemble.geometries)) for path in scans]


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core decodes one image at a time")
def test_read_grey_in_two_threads_is_faster_than_in_one(in_turns: InTurns, scans: list[Path]) -> None:
    with ThreadPoolExecutor(2) as two_threads, ThreadPoolExecutor(1) as one_thread:
        ratio = in_turns(
            lambda: list(one_thread.map(read_grey, scans[:8])),
            lambda: list(two_threads.map(read_grey, scans[:8])),
        )
    print(f"two threads take {ratio.median:.3f} of one")
    assert ratio.median < 0.75


def test_prepared_groups_cost_little_more_than_decoding(
    in_turns: InTurns, ensemble: Ensemble, scans: list[Path]
) -> None:
    geometries = set(ensemble.geometries)

    def assemble() -> None:
        for group in prepared_groups(scans, lambda p: prepare_image(p, geometries), group_size=BATCH, threads=1):
            for geometry in geometries:
                np.stack([image.pixels[geometry] for image in group])

    ratio = in_turns(lambda: [prepare_image(path, geometries) for path in scans], assemble)
    print(f"assembling takes {ratio.median:.3f} of decoding alone")
    assert ratio.median < 1.15


@pytest.mark.parametrize("batch", [1, BATCH])
def test_engine_infer_costs_what_a_plain_session_costs(
    in_turns: InTurns, bundle: Path, images: np.ndarray, batch: int
) -> None:
    loaded = load_bundle(bundle)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # The only option that is not plain: its threads would go on spinning while ours is timed.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    plain = onnxruntime.InferenceSession(loaded.members[0].path, options, providers=["CPUExecutionProvider"])
    with load_members(loaded, "onnxruntime-cpu", device=0, threads=None) as members:
        engine = members.engines[0]
        pixels = images[:batch]
        assert engine.infer(pixels) == pytest.approx(plain.run(None, {"image": pixels})[0], abs=1e-6)
        ratio = in_turns(lambda: plain.run(None, {"image": pixels}), lambda: engine.infer(pixels))
    print(f"our engine takes {ratio.median:.3f} [{ratio.low:.3f}, {ratio.high:.3f}] of a plain session")
    assert ratio.low < 1.05


def test_soft_vote_costs_little_beside_the_members(in_turns: InTurns, ensemble: Ensemble, images: np.ndarray) -> None:
    inputs = dict.fromkeys(ensemble.geometries, images)
    probabilities = ensemble.probabilities(inputs)
    ratio = in_turns(lambda: ensemble.probabilities(inputs), lambda: soft_vote(probabilities, (1.0, 2.0)))
    print(f"the vote takes {ratio.median:.2%} of the members' work")
    assert ratio.median < 0.02


def test_load_bundle_costs_little_more_than_hashing(in_turns: InTurns, bundle: Path) -> None:
    files = [bundle / name for name in listed_files(load_bundle(bundle).details)]

    def hash_them() -> None:
        for path in files:
            with path.open("rb") as stream:
                hashlib.file_digest(stream, "sha256")

    ratio = in_turns(hash_them, lambda: load_bundle(bundle))
    print(f"verifying takes {ratio.median:.3f} of SHA-256 alone")
    assert ratio.median < 1.15


def test_predictions_and_json_cost_little_beside_decoding_and_members(
    in_turns: InTurns, ensemble: Ensemble, scans: list[Path], group: list[PreparedImage]
) -> None:
    stacked = {g: np.stack([image.pixels[g] for image in group]) for g in set(ensemble.geometries)}

    def bare() -> None:
        for path in scans:
            prepare_image(path, set(ensemble.geometries))
        ensemble.member_predictions(stacked)

    def whole() -> None:
        for path in scans:
            prepare_image(path, set(ensemble.geometries))
        for record in ensemble._predict_batch(group):
            record.to_json()

    ratio = in_turns(bare, whole)
    print(f"with records and their JSON: {ratio.median:.3f}")
    assert ratio.median < 1.1


def test_to_json_costs_what_json_of_its_data_costs(in_turns: InTurns, ensemble: Ensemble, scans: list[Path]) -> None:
    record = ensemble.predict(scans[0])
    data = record.to_dict()
    ratio = in_turns(
        lambda: [json.dumps(data, allow_nan=False) for _ in range(200)],
        lambda: [record.to_json() for _ in range(200)],
    )
    print(f"a record's JSON takes {ratio.median:.3f} of that of its data")
    assert ratio.median < 2


def test_predict_many_is_faster_than_decoding_first(in_turns: InTurns, ensemble: Ensemble, scans: list[Path]) -> None:
    """Answering as a stream beats decoding everything first, then answering."""
    paths = scans * 4
    geometries = set(ensemble.geometries)

    def one_after_the_other() -> None:
        for start in range(0, len(paths), BATCH):
            ensemble._predict_batch([prepare_image(path, geometries) for path in paths[start : start + BATCH]])

    ratio = in_turns(one_after_the_other, lambda: list(ensemble.predict_many(paths, batch_size=BATCH)))
    print(f"streaming takes {ratio.median:.3f} of decoding first")
    assert ratio.median < 0.95


def test_in_turns_of_the_same_work_has_a_ratio_of_1(
    in_turns: InTurns, ensemble: Ensemble, images: np.ndarray
) -> None:
    inputs = dict.fromkeys(ensemble.geometries, images)
    ratio = in_turns(lambda: ensemble.probabilities(inputs), lambda: ensemble.probabilities(inputs))
    print(f"A/A: {ratio.median:.4f} [{ratio.low:.4f}, {ratio.high:.4f}]")
    assert 0.97 < ratio.median < 1.03


def test_timer_overhead_is_below_a_hundredth_of_the_quickest_call(bundle: Path, images: np.ndarray) -> None:
    with load_members(load_bundle(bundle), "onnxruntime-cpu", device=0, threads=1) as members:
        call_ms = statistics.median(timed_ms(lambda: members.engines[0].infer(images[:1])) for _ in range(50))
    print(f"the timer adds {timer_overhead_ms() / call_ms:.3%}")
    assert timer_overhead_ms() < 0.01 * call_ms
