"""Parts, rungs and CUDA graphs of a plan, on a device that is the host's memory."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from braintumor.errors import OutOfMemoryError, UnavailableError
from braintumor.runtime.engines.tensorrt.execute import PlanRuns
from braintumor.runtime.engines.tensorrt.profile import BatchProfile


def means(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.stack([images.mean(axis=(1, 2)) + column for column in range(4)], axis=1).astype(np.float32)


def batch(count: int, start: int = 0) -> NDArray[np.uint8]:
    return np.repeat(np.arange(start, start + count, dtype=np.uint8), 6).reshape(count, 2, 3)


@pytest.fixture
def parts(fake_lane: Any, fake_context: Any) -> tuple[PlanRuns, Any, Any]:
    """A plan for 1 to 8 images, its lane and its context."""
    lane = fake_lane(8, 2, 3)
    context = fake_context(lane, means)
    return PlanRuns(context, lane, BatchProfile(1, 4, 8), UnavailableError), lane, context


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 9, 16, 21])
def test_every_image_is_answered_at_its_place(parts: Any, count: int) -> None:
    runs, _, _ = parts
    for start in (0, 50):  # plainly first, then as a graph
        answers = runs.submit(batch(count, start))()
        assert answers.dtype == np.float32
        np.testing.assert_array_equal(answers, means(batch(count, start)))


def test_the_first_batch_of_a_size_runs_plainly_and_the_later_ones_are_graphs(parts: Any) -> None:
    runs, lane, context = parts
    runs.submit(batch(3))()
    assert lane.done == ["upload 4", "run 4", "download 4", "wait"]
    assert context.addresses == {"image": 100, "probabilities": 200}
    lane.done.clear()
    runs.submit(batch(4))()
    assert lane.done == ["graph", "wait"]
    assert runs.graphs == (4,)


def test_the_number_of_graphs_is_bounded_whatever_comes(parts: Any) -> None:
    runs, _, _ = parts
    for count in range(1, 40):
        runs.submit(batch(count))()
    assert runs.graphs == (1, 2, 4, 8)


def test_what_cannot_be_captured_runs_plainly_and_is_not_tried_again(parts: Any) -> None:
    runs, lane, _ = parts
    lane.captures = False
    for _ in range(2):
        np.testing.assert_array_equal(runs.submit(batch(2))(), means(batch(2)))
    lane.captures = True
    runs.submit(batch(2))()
    assert "graph" not in lane.done
    assert runs.graphs == ()


def test_a_library_that_knows_what_can_be_captured_is_asked(parts: Any) -> None:
    runs, _, context = parts
    context.is_stream_capturable = lambda stream: stream != 300
    for _ in range(2):
        runs.submit(batch(2))()
    assert runs.graphs == ()


def test_a_batch_is_started_before_it_is_waited_for(parts: Any) -> None:
    runs, lane, _ = parts
    wait = runs.submit(batch(8))
    assert lane.done == ["upload 8", "run 8", "download 8"]
    wait()


def test_more_than_the_largest_batch_goes_in_parts_that_do_not_overtake_each_other(parts: Any) -> None:
    runs, lane, _ = parts
    runs.submit(batch(17))()
    assert [step for step in lane.done if step.split()[0] in {"run", "graph", "wait"}] == [
        *("run 8", "wait"),
        *("graph", "wait"),
        *("run 1", "wait"),
    ]


@pytest.mark.parametrize(
    ("refuses", "said"),
    [("shape", "batches of 2 are refused"), ("address", "memory for image"), ("run", "batch of 2")],
)
def test_what_the_library_refuses_is_an_error(parts: Any, refuses: str, said: str) -> None:
    runs, _, context = parts
    context.refuses = refuses
    with pytest.raises(UnavailableError, match=said):
        runs.submit(batch(2))()


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        ("CUDA_ERROR_OUT_OF_MEMORY: The API call failed", OutOfMemoryError),
        ("CUDA_ERROR_LAUNCH_FAILED: an exception occurred on the device", UnavailableError),
        ("CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected", UnavailableError),
    ],
)
def test_a_gpu_that_fails_is_told_from_one_that_is_full(parts: Any, raised: str, error: type[Exception]) -> None:
    runs, lane, _ = parts

    def fail() -> None:
        raise RuntimeError(raised)

    lane.wait = fail
    with pytest.raises(error, match=f"while 2 images were classified .{raised}") as caught:
        runs.submit(batch(2))()
    assert type(caught.value) is error


def test_after_a_failure_the_next_batch_is_answered(parts: Any) -> None:
    runs, _, context = parts
    context.refuses = "run"
    with pytest.raises(UnavailableError):
        runs.submit(batch(2))
    context.refuses = ""
    np.testing.assert_array_equal(runs.submit(batch(2))(), means(batch(2)))
