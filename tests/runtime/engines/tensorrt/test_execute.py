"""Parts, rungs and CUDA graphs of a plan, on a device that is the host's memory."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from braintumor.errors import OutOfMemoryError, UnavailableError
from braintumor.runtime.engines.tensorrt.execute import PlanRunner
from braintumor.runtime.engines.tensorrt.profile import BatchProfile

from .fakes import FakeContext, FakeCudaBuffers


def means(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.stack([images.mean(axis=(1, 2)) + column for column in range(4)], axis=1).astype(np.float32)


def batch(count: int, start: int = 0) -> NDArray[np.uint8]:
    return np.repeat(np.arange(start, start + count, dtype=np.uint8), 6).reshape(count, 2, 3)


@pytest.fixture
def plan() -> tuple[PlanRunner, Any, Any]:
    """A plan for 1 to 8 images, its buffers and its context."""
    buffers = FakeCudaBuffers(8, 2, 3)
    context = FakeContext(buffers, means)
    return PlanRunner(context, buffers, BatchProfile(1, 4, 8), UnavailableError), buffers, context


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 9, 16, 21])
def test_submit_answers_every_image_at_its_place(plan: Any, count: int) -> None:
    runner, _, _ = plan
    for start in (0, 50):  # plainly first, then as a graph
        answers = runner.submit(batch(count, start))()
        assert answers.dtype == np.float32
        np.testing.assert_array_equal(answers, means(batch(count, start)))


def test_submit_captures_a_graph_after_the_first_batch_of_a_size(plan: Any) -> None:
    runner, buffers, context = plan
    runner.submit(batch(3))()
    assert buffers.done == ["upload 4", "run 4", "download 4", "wait"]
    assert context.addresses == {"image": 100, "probabilities": 200}
    buffers.done.clear()
    runner.submit(batch(4))()
    assert buffers.done == ["graph", "wait"]
    assert runner.graphs == (4,)


def test_submit_keeps_few_graphs(plan: Any) -> None:
    runner, _, _ = plan
    for count in range(1, 40):
        runner.submit(batch(count))()
    assert runner.graphs == (1, 2, 4, 8)


def test_submit_tries_a_capture_once(plan: Any) -> None:
    runner, buffers, _ = plan
    buffers.captures = False
    for _ in range(2):
        np.testing.assert_array_equal(runner.submit(batch(2))(), means(batch(2)))
    buffers.captures = True
    runner.submit(batch(2))()
    assert "graph" not in buffers.done
    assert runner.graphs == ()


def test_submit_captures_no_stream_that_the_library_rules_out(plan: Any) -> None:
    runner, _, context = plan
    context.is_stream_capturable = lambda stream: stream != 300
    for _ in range(2):
        runner.submit(batch(2))()
    assert runner.graphs == ()


def test_submit_starts_at_once(plan: Any) -> None:
    runner, buffers, _ = plan
    wait = runner.submit(batch(8))
    assert buffers.done == ["upload 8", "run 8", "download 8"]
    wait()


def test_submit_runs_the_chunks_of_a_large_batch_in_turn(plan: Any) -> None:
    runner, buffers, _ = plan
    runner.submit(batch(17))()
    assert [step for step in buffers.done if step.split()[0] in {"run", "graph", "wait"}] == [
        *("run 8", "wait"),
        *("graph", "wait"),
        *("run 1", "wait"),
    ]


@pytest.mark.parametrize(
    ("refuses", "message"),
    [("shape", "batches of 2 are refused"), ("address", "memory for image"), ("run", "batch of 2")],
)
def test_submit_raises_what_the_library_refuses(plan: Any, refuses: str, message: str) -> None:
    runner, _, context = plan
    context.refuses = refuses
    with pytest.raises(UnavailableError, match=message):
        runner.submit(batch(2))()


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        ("CUDA_ERROR_OUT_OF_MEMORY: The API call failed", OutOfMemoryError),
        ("CUDA_ERROR_LAUNCH_FAILED: an exception occurred on the device", UnavailableError),
        ("CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected", UnavailableError),
    ],
)
def test_submit_tells_a_full_gpu_from_a_failing_one(plan: Any, raised: str, error: type[Exception]) -> None:
    runner, buffers, _ = plan

    def fail() -> None:
        raise RuntimeError(raised)

    buffers.wait = fail
    with pytest.raises(error, match=f"while 2 images were classified .{raised}") as caught:
        runner.submit(batch(2))()
    assert type(caught.value) is error


def test_submit_works_after_a_failure(plan: Any) -> None:
    runner, _, context = plan
    context.refuses = "run"
    with pytest.raises(UnavailableError):
        runner.submit(batch(2))
    context.refuses = ""
    np.testing.assert_array_equal(runner.submit(batch(2))(), means(batch(2)))
