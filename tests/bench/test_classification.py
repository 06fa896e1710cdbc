"""Scores of predictions, against scikit-learn and against values that can be worked out by hand."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics

from braintumor.bench.document import encode
from braintumor.bench.metrics.classification import (
    NON_FINITE,
    brier,
    cross_entropy,
    expected_calibration_error,
    kl_divergence,
    predicted_labels,
    scores,
)
from braintumor.bench.metrics.intervals import Share
from braintumor.errors import UsageError
from braintumor.models.labels import CLASSES


def predictions(count: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    logits = rng.normal(size=(count, 4)) + 2 * np.eye(4)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probabilities.astype(np.float32), labels


def test_scores_agree_with_scikit_learn() -> None:
    probabilities, labels = predictions(300)
    result = scores(probabilities, labels, CLASSES)
    expected = metrics.classification_report(
        labels, probabilities.argmax(axis=1), target_names=CLASSES, output_dict=True
    )
    for name, line in {**result.per_class, "macro avg": result.macro, "weighted avg": result.weighted}.items():
        assert (line.precision, line.recall, line.f1, line.support) == pytest.approx(
            tuple(expected[name][key] for key in ("precision", "recall", "f1-score", "support"))
        )
    assert result.accuracy == pytest.approx(expected["accuracy"])
    assert result.confusion == tuple(
        map(tuple, metrics.confusion_matrix(labels, probabilities.argmax(axis=1)).tolist())
    )
    exact = probabilities.astype(float)
    assert result.loss == pytest.approx(metrics.log_loss(labels, exact / exact.sum(axis=1, keepdims=True)), rel=1e-5)


def test_scores_count_false_negatives_and_false_positives() -> None:
    truth = np.array([0, 0, 2, 3, 1, 1, 1])
    predicted = np.array([1, 0, 1, 2, 1, 3, 1])
    result = scores(np.eye(4, dtype=np.float32)[predicted], truth, CLASSES)
    assert result.false_negatives == Share.of(2, 4)
    assert result.false_positives == Share.of(1, 3)


def test_scores_interval_of_no_false_negatives_in_504() -> None:
    truth = np.repeat([0, 1, 2, 3], [158, 199, 183, 163])
    result = scores(np.eye(4, dtype=np.float32)[truth], truth, CLASSES)
    assert result.interval == pytest.approx([0.99477, 1.0], abs=5e-6)
    assert result.lower_one_sided == pytest.approx(0.99575, abs=5e-6)
    assert result.false_negatives is not None
    assert (result.false_negatives.count, result.false_negatives.total) == (0, 504)
    assert result.false_negatives.interval == pytest.approx([0, 1 - 0.025 ** (1 / 504)])


def test_scores_without_healthy_class_have_no_false_negatives() -> None:
    result = scores(np.eye(4, dtype=np.float32), np.arange(4), ("a", "b", "c", "d"))
    assert result.false_negatives is result.false_positives is None


def test_scores_count_non_finite_probabilities_as_wrong() -> None:
    probabilities, labels = predictions(8)
    probabilities[2] = np.nan
    probabilities[5, 1] = np.inf
    assert (predicted_labels(probabilities) == NON_FINITE).tolist() == [index in {2, 5} for index in range(8)]
    result = scores(probabilities, labels, CLASSES)
    assert result.non_finite == 2
    assert result.images == 8
    assert sum(map(sum, result.confusion)) == 6
    assert result.loss is result.brier is result.ece is None
    json.dumps(encode(result), allow_nan=False)


def test_brier_of_certain_predictions() -> None:
    sure = np.eye(4)
    assert brier(sure, np.arange(4)) == 0
    assert brier(sure, np.array([1, 2, 3, 0])) == 2
    assert brier(np.full((1, 4), 0.25), np.array([0])) == pytest.approx(0.75**2 + 3 * 0.25**2)


def test_expected_calibration_error_is_gap_between_confidence_and_accuracy() -> None:
    probabilities = np.array([[0.9, 0.1, 0, 0]] * 10 + [[0.6, 0.4, 0, 0]] * 10)
    # Nine of ten right at 0.9, two of ten at 0.6: gaps of 0 and 0.4, each of half the images.
    labels = np.array([0] * 9 + [1] + [0] * 2 + [1] * 8)
    assert expected_calibration_error(probabilities, labels) == pytest.approx(0.2)
    assert expected_calibration_error(np.eye(4), np.arange(4)) == 0


def test_cross_entropy_is_finite_and_kl_divergence_is_0_for_equals() -> None:
    assert cross_entropy(np.array([[1.0, 0, 0, 0]]), np.array([1])) == pytest.approx(-np.log(1e-7))
    first, second = (predictions(20, seed)[0].astype(float) for seed in (0, 1))
    assert (kl_divergence(first, first) == 0).all()
    assert (kl_divergence(first, second) > 0).all()
    assert kl_divergence(np.array([[0.5, 0.5, 0, 0]]), np.array([[0.25, 0.75, 0, 0]]))[0] == pytest.approx(
        0.5 * np.log(2) + 0.5 * np.log(2 / 3)
    )


def test_scores_refuse_predictions_that_do_not_fit_labels() -> None:
    probabilities, labels = predictions(5)
    for bad in (labels[:4], labels[:0]):
        with pytest.raises(UsageError, match="do not fit"):
            scores(probabilities[: len(bad) + (len(bad) > 0)], bad, CLASSES)
