"""The temperature of a vote: probabilities move, labels never."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from braintumor.models.vote_calibration import apply_temperature
from braintumor.runtime.bundle.load import load_bundle
from braintumor.runtime.ensemble import Ensemble
from braintumor.runtime.members import MemberPredictions
from braintumor.runtime.vote import soft_vote, tempered_bounds
from braintumor.runtime.vote_result import vote_results

TEMPERATURES = st.floats(0.05, 20)
LOGITS = arrays.arrays(np.float32, (3, 5, 4), elements=st.floats(-30, 30, width=32))


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)


@given(LOGITS, TEMPERATURES)
def test_vote_results_keep_every_label_at_any_temperature(logits: np.ndarray, temperature: float) -> None:
    answers = MemberPredictions(_softmax(logits), np.ones((3, 5), np.bool_))
    plain = list(vote_results(answers, [1, 2, 1]))
    warm = list(vote_results(answers, [1, 2, 1], temperature))
    assert [result.label for result in plain] == [result.label for result in warm]
    for result in warm:
        assert result.vote.sum() == pytest.approx(1, abs=1e-5)
        assert result.vote[result.label] == result.vote.max()


def test_apply_temperature_is_the_softmax_of_divided_logarithms() -> None:
    vote = _softmax(np.random.default_rng(0).normal(0, 3, (20, 4)))
    assert apply_temperature(vote, 1.0) is vote
    assert np.allclose(apply_temperature(vote, 0.5), _softmax(np.log(vote) / 0.5), atol=1e-6)
    certain = np.array([[0, 1, 0, 0]], np.float32)
    assert np.array_equal(apply_temperature(certain, 0.05), certain)
    assert np.array_equal(apply_temperature(certain, 20.0), certain)


@given(LOGITS, TEMPERATURES)
def test_tempered_bounds_hold_the_tempered_full_vote(logits: np.ndarray, temperature: float) -> None:
    members = _softmax(logits)
    ran = np.array([True, True, False])[:, np.newaxis].repeat(5, axis=1)
    full = apply_temperature(soft_vote(members, [1, 1, 1]).astype(np.float64), temperature)
    for row, result in zip(full, vote_results(MemberPredictions(members, ran), [1, 1, 1], temperature), strict=True):
        assert result.bounds is not None
        for value, (low, high) in zip(row, result.bounds, strict=True):
            assert low - 1e-4 <= value <= high + 1e-4


def test_tempered_bounds_stay_within_0_and_1() -> None:
    low, high = tempered_bounds(np.array([[0.0, 0.5, 0.0, 0.1]]), np.array([[0.4, 0.9, 0.4, 0.5]]), 0.05)
    assert ((low >= 0) & (high <= 1) & (low <= high)).all()


def test_predict_applies_the_temperature_of_the_bundle(three: Path, phantom_files: Callable[..., list[Path]]) -> None:
    plain = load_bundle(three)
    details = MappingProxyType({**plain.details, "calibration": {"temperature": 0.5}})
    scans = phantom_files(6, 40, 40, seed=2)
    with Ensemble.load(plain) as uncalibrated, Ensemble.load(replace(plain, details=details)) as other:
        before, after = list(uncalibrated.predict_many(scans)), list(other.predict_many(scans))
    for cold, warm in zip(before, after, strict=True):
        assert cold.label == warm.label
        p = np.array([list(cold.probabilities.values())])
        assert np.allclose(apply_temperature(p, 0.5)[0], list(warm.probabilities.values()), atol=1e-5)
        assert cold.members == warm.members
