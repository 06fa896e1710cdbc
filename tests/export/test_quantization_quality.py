"""The figures of a search for int8 plans: what they count, and how much they scatter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from braintumor.export.int8.quality import expected_flips, quantization_quality

RNG = np.random.default_rng(0)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def answers(count: int, rng: np.random.Generator, noise: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Softmaxes with leads of all sizes, and the same moved by noise on the logits."""
    logits = rng.normal(size=(count, 4)) * 4
    return softmax(logits), softmax(logits + rng.normal(size=(count, 4)) * noise)


def test_quantization_quality_of_equal_answers_has_no_flips() -> None:
    reference, _ = answers(200, RNG, 0.1)
    labels = reference.argmax(axis=1)
    figures = quantization_quality(reference, reference, labels)
    assert (figures.flips, figures.expected_flips) == (0, 0)
    assert (figures.divergence_nats, figures.max_abs_difference) == (0, 0)
    assert figures.accuracy == figures.accuracy_fp32 == 1


def test_quantization_quality_counts_flips_and_accuracy() -> None:
    reference = np.array([[0.7, 0.1, 0.1, 0.1], [0.3, 0.4, 0.2, 0.1]], np.float32)
    quantised = np.array([[0.6, 0.2, 0.1, 0.1], [0.5, 0.2, 0.2, 0.1]], np.float32)
    figures = quantization_quality(quantised, reference, np.array([0, 1]))
    assert (figures.images, figures.flips, figures.accuracy, figures.accuracy_fp32) == (2, 1, 0.5, 1)
    assert figures.max_abs_difference == pytest.approx(0.2)
    assert figures.mean_abs_difference == pytest.approx(0.6 / 8)


def test_expected_flips_match_the_rate_and_scatter_less() -> None:
    counted, expected = [], []
    for seed in range(40):
        reference, quantised = answers(700, np.random.default_rng(seed), 0.05)
        counted.append((quantised.argmax(axis=1) != reference.argmax(axis=1)).mean())
        expected.append(expected_flips(quantised, reference))
    assert np.mean(expected) == pytest.approx(np.mean(counted), rel=0.25)
    assert np.std(expected) < 0.75 * np.std(counted)


@given(st.integers(1, 60), st.integers(0, 10**6))
def test_expected_flips_are_a_rate_for_any_number_of_images(count: int, seed: int) -> None:
    reference, quantised = answers(count, np.random.default_rng(seed), 1.0)
    assert 0 <= expected_flips(quantised, reference) <= 1


def test_expected_flips_grow_with_noise() -> None:
    rates = [expected_flips(*reversed(answers(700, np.random.default_rng(3), noise))) for noise in (0.02, 0.1, 0.5)]
    assert rates[0] < rates[1] < rates[2]


def test_within_includes_its_limits() -> None:
    reference, quantised = answers(200, np.random.default_rng(5), 0.3)
    figures = quantization_quality(quantised, reference, reference.argmax(axis=1))
    assert figures.flips > 0
    part, drop = figures.flips / 200, figures.accuracy_fp32 - figures.accuracy
    assert figures.within(part, drop)
    assert not figures.within(part - 0.001, drop)
    assert not figures.within(part, drop - 0.001)
