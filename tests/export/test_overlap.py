"""Two jobs at a time, never two in one stage; results in order; after an error nothing more begins."""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from braintumor.export.overlap import StageSlots, one_by_one, overlapped, shared_limit

WAIT_S = 30


def until_stopped(slots: StageSlots) -> None:
    """Wait as a stage does that takes longer than it takes to stop."""
    deadline_s = time.monotonic() + WAIT_S
    while not slots.stopped:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_overlapped_writes_one_job_while_another_is_verified() -> None:
    written, verifying = threading.Event(), threading.Event()

    def first(slots: StageSlots) -> bool:
        slots.write(lambda: None)
        return slots.verify(lambda: verifying.set() or written.wait(WAIT_S))  # type: ignore[func-returns-value]

    def second(slots: StageSlots) -> bool:
        return slots.write(lambda: written.set() or verifying.wait(WAIT_S))  # type: ignore[func-returns-value]

    assert list(overlapped([first, second])) == [True, True]


@pytest.mark.parametrize("stage", [StageSlots.write, StageSlots.verify])
def test_overlapped_never_runs_two_jobs_in_one_stage(stage: Callable[[StageSlots, Callable[[], int]], int]) -> None:
    inside: list[int] = []

    def job(number: int) -> Callable[[StageSlots], int]:
        def work() -> int:
            inside.append(number)
            time.sleep(0.02)
            assert inside == [number]
            inside.clear()
            return number

        return lambda slots: stage(slots, work)

    assert list(overlapped([job(number) for number in range(6)])) == list(range(6))


def test_overlapped_raises_an_error_and_begins_no_stage_after_it() -> None:
    began: list[str] = []
    writing = threading.Event()

    def fails(slots: StageSlots) -> None:
        slots.write(lambda: None)
        writing.wait(WAIT_S)
        raise ValueError("planted")

    def goes_on(slots: StageSlots) -> None:
        slots.write(lambda: writing.set() or until_stopped(slots))  # type: ignore[func-returns-value]
        slots.verify(lambda: began.append("verifying"))

    def never(_: StageSlots) -> None:
        began.append("third")

    with pytest.raises(ValueError, match="planted"):
        list(overlapped([fails, goes_on, goes_on, never]))
    assert began == []


def test_overlapped_begins_no_job_after_it_is_closed() -> None:
    began: list[int] = []

    def job(number: int) -> Callable[[StageSlots], int]:
        def work(slots: StageSlots) -> int:
            slots.write(lambda: until_stopped(slots) if number else None)
            slots.verify(lambda: began.append(number))
            return number

        return work

    with closing(overlapped([job(number) for number in range(8)])) as results:
        assert next(results) == 0
    assert began == [0]


def test_one_by_one_begins_a_job_when_its_result_is_needed() -> None:
    began: list[int] = []
    jobs = [lambda _, number=number: began.append(number) for number in range(3)]
    with closing(one_by_one(jobs)) as results:
        next(results)
    assert began == [0]


def test_shared_limit_counts_both_stages_and_no_waiting() -> None:
    given_s: list[float] = []

    def run(left_s: float | None, work: Callable[[], Any]) -> Any:
        assert left_s is not None
        given_s.append(left_s)
        return work()

    began = threading.Event()

    def slow(slots: StageSlots) -> None:
        slots.write(lambda: began.set() or time.sleep(0.5))  # type: ignore[func-returns-value]

    def limited(slots: StageSlots) -> None:
        began.wait(WAIT_S)
        mine = slots.within(shared_limit(10.0, run))
        mine.write(lambda: time.sleep(0.2))
        mine.verify(lambda: None)

    list(overlapped([slow, limited]))
    first_s, second_s = given_s
    assert first_s == 10.0
    assert second_s <= 9.8
