"""`RunnerProcess`: output of libraries, errors, engine and memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from braintumor.bench.latency.process import RunnerProcess
from braintumor.bench.latency.runners.base import STAGES, BatchPrediction, RunnerInfo, RunnerSpec
from braintumor.bench.latency.runners.bundle import BundleRunner
from braintumor.bench.latency.runners.timed import timed_engine
from braintumor.bench.latency.worker import timed_predict
from braintumor.bench.metrics.timing import timed_ms, timer_overhead_ms
from braintumor.errors import BraintumorError, InputError, IntegrityError, UnavailableError
from braintumor.runtime.engines.base import Engine, EngineInfo

OURS = "braintumor.bench.latency.runners.bundle:BundleRunner"

NOISY = """
import os, sys, time
import numpy as np
from braintumor.bench.latency.runners.base import BatchPrediction, RunnerInfo
from braintumor.runtime.engines.base import EngineInfo

class Noisy:
    info = RunnerInfo("noisy", "peer", None, "fp32", EngineInfo("noisy", "here", "cpu", "1"))

    def predict(self, paths):
        print("printed")
        os.write(1, b"written below Python\\n")
        os.system("echo by a child")
        if paths[0].name == "die":
            sys.exit("no memory left")
        if paths[0].name == "hang":
            time.sleep(60)
        return BatchPrediction(np.full((len(paths), 4), 0.25, np.float32), {"compute": 1.0})
"""


@pytest.fixture
def noisy(tmp_path: Path) -> RunnerSpec:
    (tmp_path / "noisy.py").write_text(NOISY)
    return RunnerSpec("noisy:Noisy", {}, environment={"PYTHONPATH": str(tmp_path)})


def ours(bundle: Path, **changed: object) -> RunnerSpec:
    options: Mapping[str, object] = {
        "bundle": str(bundle),
        "engine": "onnxruntime-cpu",
        "device": None,
        "threads": 1,
        "policy": "full",
    }
    return RunnerSpec(OURS, {**options, **changed}, engine="onnxruntime-cpu")


def test_runner_process_keeps_output_of_libraries_apart(noisy: RunnerSpec) -> None:
    with RunnerProcess(noisy, [Path("a"), Path("b")]) as process:
        result = process.predict([[0, 1], [1]], probabilities=True)
        assert [len(vote) for vote in result.votes] == [2, 1]
        assert process.cold_start_ms > 0


@pytest.mark.parametrize(("name", "message"), [("die", "no memory left"), ("hang", "took more than 3 s")])
def test_runner_process_that_ends_or_hangs_raises_with_its_output(noisy: RunnerSpec, name: str, message: str) -> None:
    with (
        RunnerProcess(noisy, [Path("fine"), Path(name)], limit_s=3) as process,
        pytest.raises(BraintumorError, match=message),
    ):
        process.predict([[1]])


def test_runner_process_raises_same_error_class(small_bundle: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.png"
    with pytest.raises(InputError, match="no such file"):
        RunnerProcess(ours(small_bundle), [missing])
    with pytest.raises(IntegrityError, match="is not a bundle"):
        RunnerProcess(ours(tmp_path), [missing])


@pytest.fixture
def scans(phantom_classes: Path) -> list[Path]:
    return sorted(phantom_classes.rglob("*.png"))


def test_runner_process_refuses_fall_back(small_bundle: Path, scans: list[Path]) -> None:
    spec = ours(small_bundle)
    fallen = RunnerSpec(spec.target, spec.options, engine="onnxruntime-cuda")
    with pytest.raises(UnavailableError, match="onnxruntime-cuda, but runs as onnxruntime-cpu"):
        RunnerProcess(fallen, scans)


def test_bundle_runner_agrees_with_ensemble(small_bundle: Path, scans: list[Path]) -> None:
    from braintumor.runtime.ensemble import Ensemble

    with RunnerProcess(ours(small_bundle), scans) as process:
        (votes,) = process.predict([list(range(len(scans)))], probabilities=True).votes
    with Ensemble.load(small_bundle, engine="onnxruntime-cpu") as ensemble:
        for vote, record in zip(votes, ensemble.predict_many(scans), strict=True):
            assert record.probabilities is not None
            assert vote == pytest.approx(list(record.probabilities.values()), abs=1e-5)


def test_runner_process_peak_memory_is_its_own(small_bundle: Path, scans: list[Path], noisy: RunnerSpec) -> None:
    def peak(spec: RunnerSpec) -> float:
        with RunnerProcess(spec, scans) as process:
            peak_mb = process.peak_rss_mb()
            assert peak_mb is not None
            return peak_mb

    held = bytearray(400_000_000)
    assert peak(noisy) < peak(ours(small_bundle)) < 400
    assert len(held) > 0


class Idle:
    """Does nothing, as a runner and as an engine: what is left is what measuring adds."""

    info = RunnerInfo("idle", "peer", None, "fp32", EngineInfo("idle", "", "cpu", ""))
    answered = BatchPrediction(np.zeros((1, 4), np.float32), {})

    def predict(self, paths: Sequence[Path]) -> BatchPrediction:
        del paths
        return self.answered

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        del images
        return self.answered.vote


@pytest.mark.ratio
def test_timed_predict_overhead_is_below_a_hundredth(small_bundle: Path, scans: list[Path]) -> None:
    runner = BundleRunner(str(small_bundle), engine="onnxruntime-cpu", device=None, threads=None, policy="full")
    idle, member = Idle(), timed_engine(cast("Engine", Idle()))
    pixels = np.zeros((1, 32, 32), np.uint8)
    calls, added, members = [], [], []
    for _ in range(200):
        calls.append(timed_predict(runner, scans[:1])[0])
        added.append(timed_ms(lambda: timed_predict(idle, scans[:1])))
        members.append(timed_ms(lambda: member.infer(pixels)))
    clocks = len(STAGES) + 1
    overhead_ms = median(added) + len(runner.info.members) * median(members) + clocks * timer_overhead_ms()
    print(f"measuring adds {overhead_ms / median(calls):.2%} to a call of {median(calls):.2f} ms")
    assert overhead_ms < 0.01 * median(calls)
