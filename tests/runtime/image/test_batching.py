"""Groups come in order, are prepared ahead by a bounded number, and leave no thread behind."""

import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braintumor.runtime.image.batching import prepared_groups


def preparers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("braintumor-prepare")]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 40), st.integers(1, 9), st.integers(1, 4), st.integers(1, 3))
def test_prepared_groups_keep_the_order_of_all_sources(count: int, size: int, threads: int, ahead: int) -> None:
    groups = list(prepared_groups(range(count), lambda n: -n, group_size=size, threads=threads, ahead=ahead))
    assert [value for group in groups for value in group] == [-n for n in range(count)]
    assert all(len(group) == size for group in groups[:-1])
    assert all(groups)


def test_prepared_groups_keep_the_order_when_the_first_takes_longest() -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.05 if number == 0 else 0)
        return number

    assert next(prepared_groups(range(8), slow_first, group_size=8, threads=4)) == list(range(8))


@pytest.mark.parametrize("ahead", [1, 3])
def test_prepared_groups_read_no_further_than_the_groups_ahead(ahead: int) -> None:
    taken = []

    def endless() -> Iterator[int]:
        for number in itertools.count():
            taken.append(number)
            yield number

    groups = prepared_groups(endless(), lambda n: n, group_size=5, threads=2, ahead=ahead)
    assert taken == []
    for turn in range(4):
        assert next(groups) == list(range(5 * turn, 5 * turn + 5))
        assert len(taken) <= 5 * (turn + 1 + ahead)
    groups.close()  # type: ignore[attr-defined]


def test_prepared_groups_prepare_the_next_group_meanwhile() -> None:
    prepared = threading.Event()

    def prepare(number: int) -> int:
        if number == 1:
            prepared.set()
        return number

    groups = prepared_groups(range(3), prepare, group_size=1, threads=1)
    assert next(groups) == [0]
    assert prepared.wait(10)


def test_prepared_groups_raise_at_the_turn_of_a_source_and_end_the_threads() -> None:
    def prepare(number: int) -> int:
        if number == 7:
            raise ValueError("seven")
        return number

    groups = prepared_groups(range(100), prepare, group_size=3, threads=2)
    assert [next(groups), next(groups)] == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ValueError, match="seven"):
        next(groups)
    assert preparers() == []


def test_prepared_groups_end_the_threads_when_the_sources_raise() -> None:
    def broken() -> Iterator[int]:
        yield from range(5)
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(prepared_groups(broken(), lambda n: n, group_size=2, threads=2))
    assert preparers() == []


def test_prepared_groups_stop_when_closed_early() -> None:
    begun: list[Any] = []
    groups = prepared_groups(range(1000), lambda n: begun.append(n) or time.sleep(0.01), group_size=50, threads=2)
    next(groups)
    groups.close()  # type: ignore[attr-defined]
    assert preparers() == []
    assert len(begun) < 100


def test_prepared_groups_yield_what_came_before_an_exception_of_the_sources() -> None:
    def broken() -> Iterator[int]:
        yield from range(5)
        raise OSError("gone")

    groups = prepared_groups(broken(), lambda n: n, group_size=2, threads=2)
    assert [next(groups), next(groups), next(groups)] == [[0, 1], [2, 3], [4]]
    with pytest.raises(OSError, match="gone"):
        next(groups)
