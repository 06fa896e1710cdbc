"""Bound runs answer as plain ones do. On the CPU there is no graph to capture; the tensors and bindings are real."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from braintumor.bench.data.phantoms import phantoms
from braintumor.runtime.bundle.load import Member
from braintumor.runtime.engines.base import INPUT, OUTPUT
from braintumor.runtime.engines.onnxruntime_bound import MAX_BOUND, BoundRuns


class Counting:
    """A session that notes how it is run."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.runs: list[str] = []

    def run(self, *arguments: Any) -> Any:
        self.runs.append(arguments[2].get_run_config_entry("gpu_graph_id"))
        return self._session.run(*arguments)

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        self.runs.append(options.get_run_config_entry("gpu_graph_id"))
        self._session.run_with_iobinding(binding, options)

    def io_binding(self) -> Any:
        return self._session.io_binding()

    def get_outputs(self) -> Any:
        return self._session.get_outputs()


@pytest.fixture
def session(member: Member) -> Counting:
    return Counting(ort.InferenceSession(str(member.path), providers=["CPUExecutionProvider"]))


def plain(session: Counting, images: np.ndarray) -> np.ndarray:
    return session._session.run([OUTPUT], {INPUT: images})[0]  # type: ignore[no-any-return]


def test_bound_runs_equal_plain_runs_at_every_batch_size(session: Counting, member: Member) -> None:
    bound = BoundRuns(ort, session, "cpu", 0)
    sizes = [1, 7, 1, 32, 7, 3, 5, 6, 1]
    for count in sizes:
        images = phantoms(count, member.height, member.width, seed=count)
        np.testing.assert_array_equal(bound.run(images), plain(session, images))
    assert session.runs == ["1", "2", "1", "3", "2", "4", "-1", "-1", "1"]
    assert len(set(sizes)) > MAX_BOUND


def test_bound_runs_return_copies(session: Counting, member: Member) -> None:
    bound = BoundRuns(ort, session, "cpu", 0)
    first, second = phantoms(2, member.height, member.width, seed=1)[:, np.newaxis]
    probabilities = bound.run(first)
    before = probabilities.copy()
    bound.run(second)
    np.testing.assert_array_equal(probabilities, before)


def test_bound_runs_take_images_that_are_not_contiguous(session: Counting, member: Member) -> None:
    images = phantoms(6, member.height, member.width, seed=2)
    np.testing.assert_array_equal(BoundRuns(ort, session, "cpu", 0).run(images[::2]), plain(session, images[::2]))


@pytest.mark.gpu
@pytest.mark.parametrize("count", [1, 8, 32])
def test_bound_runs_on_a_gpu_equal_the_cpu(three: Path, count: int, gpu_engine: Callable[..., Any]) -> None:
    for member, engine in gpu_engine("onnxruntime-cuda", three):
        cpu = ort.InferenceSession(str(member.path), providers=["CPUExecutionProvider"])
        for seed in range(3):
            images = phantoms(count, member.height, member.width, seed=seed)
            expected = cpu.run([OUTPUT], {INPUT: images})[0]
            assert np.abs(engine.infer(images) - expected).max() <= 1e-4
