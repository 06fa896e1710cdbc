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


def test_samples_keep_every_time() -> None:
    samples = Samples.of((1.0, 2.0, 1000.0))
    assert samples.samples_ms == (1.0, 2.0, 1000.0)
    assert (samples.p50_ms, samples.max_ms) == (2.0, 1000.0)
    assert samples.p90_ms == pytest.approx(np.percentile((1.0, 2.0, 1000.0), 90))
    assert samples.images_per_s(2) == pytest.approx(6000 / 1003)


@pytest.mark.parametrize("times", [(), (float("nan"),), (-1.0,)])
def test_samples_refuse_impossible_times(times: tuple[float, ...]) -> None:
    with pytest.raises(UsageError):
        Samples.of(times)


def test_timer_overhead_is_below_a_hundredth() -> None:
    matrix = np.random.default_rng(0).random((400, 400))
    measured = np.median([timed_ms(lambda: matrix @ matrix) for _ in range(20)])
    assert timer_overhead_ms() < 0.01 * measured


def test_measure_until_stable_stops_when_halves_agree() -> None:
    columns, stable = measure_until_stable(lambda: (1.0, 2.0), Window(min_rounds=6, max_s=60))
    assert stable
    assert columns == [[1.0] * 6, [2.0] * 6]


def test_measure_until_stable_keeps_unstable_window() -> None:
    counter = itertools.count(1)
    columns, stable = measure_until_stable(lambda: (2.0 ** next(counter),), Window(min_rounds=4, max_s=1e-4))
    assert not stable
    assert columns[0] == [2.0 ** (index + 1) for index in range(len(columns[0]))]


def test_is_stable_ignores_single_outlier() -> None:
    assert is_stable([1.0, 1.0, 50.0, 1.0, 1.0, 1.0], 0.05)
    assert not is_stable([1.0, 1.0, 1.0, 2.0, 2.0, 2.0], 0.05)
    assert not is_stable([1.0, 1.0], 0.05)


def test_window_refuses_too_few_rounds() -> None:
    with pytest.raises(UsageError, match="4 rounds"):
        Window(min_rounds=3)


def test_paired_ratio_cancels_common_disturbance() -> None:
    rng = np.random.default_rng(0)
    first = rng.uniform(1, 10, 50)
    ratio = paired_ratio(first.tolist(), (2 * first * rng.uniform(0.99, 1.01, 50)).tolist())
    assert 1.98 < ratio.low <= ratio.median <= ratio.high < 2.02
    assert ratio.pairs == 50


def test_paired_ratio_of_same_work_is_near_1() -> None:
    matrix = np.random.default_rng(0).random((200, 200))
    pairs = [(timed_ms(lambda: matrix @ matrix), timed_ms(lambda: matrix @ matrix)) for _ in range(60)]
    ratio = paired_ratio([a for a, _ in pairs], [b for _, b in pairs])
    assert 0.6 < ratio.median < 1.6


def test_paired_ratio_refuses_times_that_are_not_pairs() -> None:
    for first, second in (([], []), ([1.0], [1.0, 2.0]), ([0.0], [1.0])):
        with pytest.raises(UsageError, match="pairs"):
            paired_ratio(first, second)


def test_environment_is_plain_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    document = json.loads(json.dumps(encode(environment())))
    assert document["machine"]["logical_cores"] == os.cpu_count()
    assert document["thread_variables"]["OMP_NUM_THREADS"] == "1"
    assert document["libraries"]["numpy"] == np.__version__
