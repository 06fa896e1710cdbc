"""Samples, windows, pairs and the environment of a measurement."""

import itertools
import json
import os

import numpy as np
import pytest

from braintumor.bench.document import encode
from braintumor.bench.metrics.environment import environment
from braintumor.bench.metrics.ratio import paired_ratio
from braintumor.bench.metrics.stability import Window, is_stable, measure_until_stable
from braintumor.bench.metrics.timing import Samples, timed_ms, timer_overhead_ms
from braintumor.errors import UsageError


def test_no_sample_is_thrown_away() -> None:
    samples = Samples.of((1.0, 2.0, 1000.0))
    assert samples.samples_ms == (1.0, 2.0, 1000.0)
    assert (samples.p50_ms, samples.max_ms) == (2.0, 1000.0)
    assert samples.p90_ms == pytest.approx(np.percentile((1.0, 2.0, 1000.0), 90))
    assert samples.images_per_s(2) == pytest.approx(6000 / 1003)


@pytest.mark.parametrize("times", [(), (float("nan"),), (-1.0,)])
def test_what_no_clock_gives_is_refused(times: tuple[float, ...]) -> None:
    with pytest.raises(UsageError):
        Samples.of(times)


def test_the_timer_takes_less_than_a_hundredth_of_what_it_measures() -> None:
    matrix = np.random.default_rng(0).random((400, 400))
    measured = np.median([timed_ms(lambda: matrix @ matrix) for _ in range(20)])
    assert timer_overhead_ms() < 0.01 * measured


def test_measuring_stops_when_the_halves_agree() -> None:
    columns, stable = measure_until_stable(lambda: (1.0, 2.0), Window(min_rounds=6, max_s=60))
    assert stable
    assert columns == [[1.0] * 6, [2.0] * 6]


def test_a_window_that_never_settles_is_kept_and_called_unstable() -> None:
    counter = itertools.count(1)
    columns, stable = measure_until_stable(lambda: (2.0 ** next(counter),), Window(min_rounds=4, max_s=1e-4))
    assert not stable
    assert columns[0] == [2.0 ** (index + 1) for index in range(len(columns[0]))]


def test_one_disturbed_sample_does_not_make_a_window_unstable() -> None:
    assert is_stable([1.0, 1.0, 50.0, 1.0, 1.0, 1.0], 0.05)
    assert not is_stable([1.0, 1.0, 1.0, 2.0, 2.0, 2.0], 0.05)
    assert not is_stable([1.0, 1.0], 0.05)


def test_a_window_that_would_say_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="4 rounds"):
        Window(min_rounds=3)


def test_pairs_cancel_what_disturbs_both() -> None:
    rng = np.random.default_rng(0)
    first = rng.uniform(1, 10, 50)
    ratio = paired_ratio(first.tolist(), (2 * first * rng.uniform(0.99, 1.01, 50)).tolist())
    assert 1.98 < ratio.low <= ratio.median <= ratio.high < 2.02
    assert ratio.pairs == 50


def test_the_same_work_in_turns_has_a_ratio_near_one() -> None:
    matrix = np.random.default_rng(0).random((200, 200))
    pairs = [(timed_ms(lambda: matrix @ matrix), timed_ms(lambda: matrix @ matrix)) for _ in range(60)]
    ratio = paired_ratio([a for a, _ in pairs], [b for _, b in pairs])
    assert 0.6 < ratio.median < 1.6


def test_times_that_make_no_pairs_are_refused() -> None:
    for first, second in (([], []), ([1.0], [1.0, 2.0]), ([0.0], [1.0])):
        with pytest.raises(UsageError, match="pairs"):
            paired_ratio(first, second)


def test_the_environment_is_plain_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    told = json.loads(json.dumps(encode(environment())))
    assert told["machine"]["logical_cores"] == os.cpu_count()
    assert told["thread_variables"]["OMP_NUM_THREADS"] == "1"
    assert told["libraries"]["numpy"] == np.__version__
