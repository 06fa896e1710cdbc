"""Targets of known_labels classes and of tumours of unknown type."""

import numpy as np
import pytest

from braintumor.models.labels import CLASSES
from braintumor.training.data.targets import (
    ANY_TUMOUR,
    HEALTHY,
    allowed,
    allowed_accuracy,
    allowed_cross_entropy,
    label_losses,
    target_rows,
)

LABELS = np.array([0, HEALTHY, 3, ANY_TUMOUR, ANY_TUMOUR])
ANSWERS = np.array(
    [[0.7, 0.1, 0.1, 0.1], [0.6, 0.3, 0.05, 0.05], [0.1, 0.2, 0.3, 0.4], [0.2, 0.4, 0.1, 0.3], [0.1, 0.2, 0.6, 0.1]]
)


def test_target_rows_of_classes_sum_to_one_and_of_any_tumour_to_three() -> None:
    rows = target_rows(LABELS, 0.1)
    assert np.allclose(rows.sum(axis=1), [1, 1, 1, 3, 3])
    assert rows[0, 0] == pytest.approx(0.9 + 0.1 / len(CLASSES))
    assert rows[3].tolist() == [1, 0, 1, 1]


def test_allowed_cross_entropy_is_the_loss_of_the_sum_of_what_is_allowed() -> None:
    import keras

    losses = np.asarray(allowed_cross_entropy(keras)(target_rows(LABELS, 0.0), ANSWERS.astype(np.float32)))
    expected = -np.log([0.7, 0.3, 0.4, 1 - 0.4, 1 - 0.2])
    assert np.allclose(losses, expected, atol=1e-6)
    assert np.allclose(label_losses(ANSWERS, LABELS), expected)


def test_allowed_cross_entropy_with_smoothing_is_that_of_keras() -> None:
    import keras

    known_labels = LABELS[:3]
    hard = np.eye(4, dtype=np.float32)[known_labels]
    p = ANSWERS[:3].astype(np.float32)
    theirs = np.asarray(keras.losses.CategoricalCrossentropy(label_smoothing=0.1, reduction=None)(hard, p))
    assert np.allclose(np.asarray(allowed_cross_entropy(keras)(target_rows(known_labels, 0.1), p)), theirs, atol=1e-5)


def test_allowed_cross_entropy_of_any_tumour_moves_no_tumour_against_another() -> None:
    import keras
    import tensorflow as tf

    logits = tf.Variable([[0.3, 1.0, -0.2, 0.1]])
    with tf.GradientTape() as tape:
        loss = allowed_cross_entropy(keras)(target_rows(np.array([ANY_TUMOUR]), 0.0), tf.nn.softmax(logits))
    slope = tape.gradient(loss, logits).numpy()[0]
    assert slope[HEALTHY] > 0
    tumours = np.delete(np.arange(4), HEALTHY)
    share = tf.nn.softmax(logits).numpy()[0][tumours]
    assert np.allclose(slope[tumours] / share, (slope[tumours] / share)[0], atol=1e-5)


def test_allowed_counts_every_tumour_as_right() -> None:
    import keras

    expected = [True, False, True, False, True]
    assert allowed(ANSWERS, LABELS).tolist() == expected
    metric = allowed_accuracy(keras)(target_rows(LABELS, 0.05), ANSWERS.astype(np.float32))
    assert np.asarray(metric).astype(bool).tolist() == expected
