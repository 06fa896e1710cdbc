"""Intervals and tests against published values, and their coverage by simulation."""

import math

import numpy as np
import pytest

from braintumor.bench.metrics.intervals import (
    Pairs,
    Share,
    bootstrap_interval,
    clopper_pearson,
    clopper_pearson_lower,
    clopper_pearson_upper,
    images_needed,
    mcnemar_p,
    tango_interval,
    tango_lower,
)
from braintumor.errors import UsageError


def test_clopper_pearson_of_703_in_703() -> None:
    low, high = clopper_pearson(703, 703)
    assert (round(100 * low, 2), high) == (99.48, 1.0)
    assert round(100 * clopper_pearson_lower(703, 703), 2) == 99.57
    assert low == pytest.approx(0.025 ** (1 / 703))


def test_clopper_pearson_gives_published_intervals() -> None:
    # Fleiss, Levin, Paik, Statistical Methods for Rates and Proportions; Newcombe 1998, Table I.
    for correct, total, low, high in ((81, 263, 0.2527, 0.3676), (15, 148, 0.0578, 0.1617), (0, 20, 0, 0.1684)):
        assert clopper_pearson(correct, total) == pytest.approx((low, high), abs=5e-5)
    assert clopper_pearson(1, 29) == pytest.approx((0.0009, 0.1776), abs=5e-5)


def test_clopper_pearson_bounds_of_none_mirror_those_of_all() -> None:
    assert clopper_pearson_upper(0, 703) == pytest.approx(1 - clopper_pearson_lower(703, 703))
    assert (clopper_pearson_lower(0, 5), clopper_pearson_upper(5, 5)) == (0.0, 1.0)
    assert Share.of(1, 4).share == 0.25


@pytest.mark.parametrize(("correct", "total"), [(-1, 5), (6, 5), (0, 0)])
def test_clopper_pearson_refuses_impossible_shares(correct: int, total: int) -> None:
    with pytest.raises(UsageError, match="is not a share"):
        clopper_pearson(correct, total)


def test_clopper_pearson_coverage() -> None:
    for share in (0.5, 0.9, 0.97):
        counts = np.random.default_rng(0).binomial(80, share, 4000)
        intervals = {count: clopper_pearson(int(count), 80) for count in set(counts.tolist())}
        covered = np.mean([intervals[count][0] <= share <= intervals[count][1] for count in counts.tolist()])
        assert covered > 0.945


@pytest.mark.parametrize(
    ("only_first", "only_second", "expected"),
    [
        # Airway hyper-responsiveness: Fagerland, Lydersen, Laake 2013, Table 1: exact conditional p = 0.070.
        (1, 7, 0.0703),
        (0, 0, 1.0),
        (5, 5, 1.0),
        (0, 6, 0.03125),
        # Agresti, Categorical Data Analysis, 2nd edition, Table 10.1: approval ratings, 150 against 86.
        (150, 86, 3.7e-5),
    ],
)
def test_mcnemar_p_gives_textbook_values(only_first: int, only_second: int, expected: float) -> None:
    pairs = Pairs(100, only_first, only_second, 10)
    assert mcnemar_p(pairs) == pytest.approx(expected, rel=0.02)
    assert mcnemar_p(Pairs(100, only_second, only_first, 10)) == mcnemar_p(pairs)


def test_mcnemar_p_of_large_counts() -> None:
    assert mcnemar_p(Pairs(0, 2000, 2000, 0)) == 1.0
    assert 0 <= mcnemar_p(Pairs(0, 1500, 3000, 0)) < 1e-90


def test_tango_interval_gives_published_interval() -> None:
    # Airway hyper-responsiveness again, Fagerland, Lydersen, Laake 2014, Statistics in Medicine 33:2850.
    low, high = tango_interval(Pairs(1, 7, 1, 12))
    assert (round(low, 3), round(high, 3)) == (-0.517, -0.026)


def test_tango_interval_without_differing_pairs() -> None:
    square = 1.959963984540054**2
    low, high = tango_interval(Pairs(700, 0, 0, 3))
    assert (low, high) == pytest.approx((-square / (703 + square), square / (703 + square)))
    # And as wide as that where all images agree, however right they are.
    assert tango_lower(Pairs(0, 0, 0, 703)) == pytest.approx(-(1.6448536**2) / (703 + 1.6448536**2))


def test_tango_lower_falls_with_lost_and_rises_with_gained_images() -> None:
    bounds = [tango_lower(Pairs(690 - lost, lost, 2, 11)) for lost in range(6)]
    assert bounds == sorted(bounds, reverse=True)
    assert tango_lower(Pairs(690, 2, 4, 7)) > tango_lower(Pairs(690, 2, 2, 9))


def test_tango_interval_where_every_image_is_lost_or_gained() -> None:
    assert tango_interval(Pairs(0, 5, 0, 0))[0] == pytest.approx(-1)
    assert tango_interval(Pairs(0, 0, 5, 0))[1] == pytest.approx(1)
    assert all(map(math.isfinite, tango_interval(Pairs(0, 1, 0, 0))))


@pytest.mark.parametrize(("lost", "gained"), [(0.004, 0.0), (0.008, 0.003), (0.02, 0.02), (0.1, 0.05)])
def test_tango_lower_coverage(lost: float, gained: float) -> None:
    drawn = np.random.default_rng(1).multinomial(703, [lost, gained, 1 - lost - gained], size=6000)
    bounds = {tuple(row): tango_lower(Pairs(row[2], row[0], row[1], 0)) for row in map(tuple, drawn.tolist())}
    covered = np.mean([bounds[row] <= gained - lost for row in map(tuple, drawn.tolist())])
    # A score interval holds its level on average and not at every point: at 0.4 % lost and nothing gained it is
    # short by one point, which the discreteness of so few losses makes.
    assert 0.935 < covered < 0.985


def test_bootstrap_interval_coverage() -> None:
    drawn = np.random.default_rng(2).multinomial(703, [0.05, 0.03, 0.92], size=400)
    intervals = [bootstrap_interval(Pairs(row[2], row[0], row[1], 0), resamples=2000) for row in drawn.tolist()]
    covered = np.mean([low <= -0.02 <= high for low, high in intervals])
    assert 0.92 < covered < 0.98


def test_bootstrap_interval_is_deterministic_and_that_of_resampled_images() -> None:
    pairs = Pairs(60, 8, 3, 9)
    assert bootstrap_interval(pairs) == bootstrap_interval(pairs)
    per_image = np.repeat([0, -1, 1, 0], [60, 8, 3, 9])
    rng = np.random.default_rng(3)
    means = [rng.choice(per_image, 80).mean() for _ in range(4000)]
    assert bootstrap_interval(pairs) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.013)
    assert bootstrap_interval(Pairs(9, 0, 0, 1)) == (0.0, 0.0)


def test_images_needed_is_the_least_number() -> None:
    count = images_needed(0.005)
    assert count == 539
    assert tango_lower(Pairs(count, 0, 0, 0)) > -0.005 > tango_lower(Pairs(count - 1, 0, 0, 0))


def test_pairs_of_counts_image_by_image() -> None:
    first, second = np.array([True, True, False, False, True]), np.array([True, False, True, False, False])
    pairs = Pairs.of(first, second)
    assert pairs == Pairs(1, 2, 1, 1)
    assert pairs.difference == pytest.approx(second.mean() - first.mean())
    with pytest.raises(UsageError, match="not pairs"):
        Pairs.of(first, second[:3])
