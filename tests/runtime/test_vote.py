"""The soft vote is the weighted mean in FP32; margin and entropy stay within their bounds."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from braintumor.runtime.vote import entropy_nats, margin, soft_vote, vote_shares

weights = st.lists(st.floats(1e-30, 1e30), min_size=1, max_size=5)


def softmax_rows(seed: int, members: int, batch: int) -> NDArray[np.float32]:
    logits = np.random.default_rng(seed).normal(0, 4, (members, batch, 4))
    powers = np.exp(logits)
    rows: NDArray[np.float32] = (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
    return rows


@given(weights, st.integers(0, 999), st.integers(1, 9))
def test_soft_vote_is_the_weighted_mean(given_weights: list[float], seed: int, batch: int) -> None:
    rows = softmax_rows(seed, len(given_weights), batch)
    vote = soft_vote(rows, given_weights)
    assert vote.dtype == np.float32
    assert vote.shape == (batch, 4)
    expected = np.average(rows.astype(np.float64), axis=0, weights=given_weights)
    assert np.abs(vote - expected).max() < 1e-6
    assert np.abs(vote.sum(axis=1) - 1).max() < 1e-6


@given(weights, st.floats(1e-3, 1e3))
def test_soft_vote_depends_on_the_ratio_of_the_weights(given_weights: list[float], scale: float) -> None:
    rows = softmax_rows(1, len(given_weights), 3)
    scaled = soft_vote(rows, [scale * weight for weight in given_weights])
    assert np.allclose(soft_vote(rows, given_weights), scaled, atol=1e-6)


@pytest.mark.parametrize("extreme", [[1e308, 1e308], [1e-300, 1e-300], [1e39, 1e39]])
def test_soft_vote_takes_extreme_weights(extreme: list[Any]) -> None:
    rows = softmax_rows(2, 2, 3)
    assert np.allclose(soft_vote(rows, extreme), rows.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize(
    ("uneven", "shares"), [([1e308, 1e-10], [1, 0]), ([0, 1], [0, 1]), ([1e-308, 1e308], [0, 1])]
)
def test_vote_shares_takes_weights_far_apart(uneven: list[float], shares: list[float]) -> None:
    assert vote_shares(uneven).tolist() == shares


def test_soft_vote_of_one_member_is_its_answer() -> None:
    rows = softmax_rows(3, 1, 5)
    assert np.array_equal(soft_vote(rows, [7.0]), rows[0])


def test_soft_vote_follows_the_weights() -> None:
    rows = np.array([[[1, 0, 0, 0]], [[0, 1, 0, 0]]], np.float32)
    assert soft_vote(rows, [1, 3]).tolist() == [[0.25, 0.75, 0.0, 0.0]]


@given(st.integers(0, 9999))
def test_margin_and_entropy_stay_within_their_bounds(seed: int) -> None:
    row = softmax_rows(seed, 1, 1)[0, 0]
    ordered = sorted(row.tolist())
    assert margin(row) == pytest.approx(ordered[-1] - ordered[-2], abs=1e-7)
    assert 0 <= margin(row) <= 1
    wide = row.astype(np.float64)
    assert entropy_nats(row) == pytest.approx(-(wide * np.log(wide)).sum(), abs=1e-9)
    assert 0 <= entropy_nats(row) <= math.log(4) + 1e-6


def test_margin_and_entropy_of_certain_and_uniform_votes() -> None:
    certain, even = np.array([0, 1, 0, 0], np.float32), np.full(4, 0.25, np.float32)
    assert (margin(certain), entropy_nats(certain)) == (1.0, 0.0)
    assert (margin(even), entropy_nats(even)) == (0.0, pytest.approx(math.log(4)))
