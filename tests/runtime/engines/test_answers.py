"""What an engine answers is a softmax for every image, or an error that names the member."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from braintumor.errors import IntegrityError
from braintumor.runtime.bundle.load import Member
from braintumor.runtime.engines.answers import SLACK, check_answers

ROW = [0.7, 0.1, 0.15, 0.05]


def rows(*values: list[float]) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def test_check_answers_takes_a_softmax_and_its_rounding(member: Member) -> None:
    check_answers(member, rows(ROW, ROW), 2)
    check_answers(member, rows([1, 0, 0, 0]), 1)
    check_answers(member, rows([1.0001, -0.0001, 0, 0]), 1)
    half = dataclasses.replace(member, precision="fp16")
    check_answers(half, rows([0.7, 0.1, 0.15, 0.055]), 1)


@pytest.mark.parametrize(
    ("answers", "batch", "words"),
    [
        (rows(ROW), 2, "[1, 4] values for 2 images"),
        (rows(ROW[:3]), 1, "[1, 3] values for 1 images of 4 classes"),
        (rows(ROW)[0], 1, "[4] values"),
        (rows(ROW, [-113.7, 114.5, 0.1, 0.1]), 2, "-113.7 as a probability"),
        (rows([1.2, 0, 0, -0.001]), 1, "1.2 as a probability"),
        (rows([-0.003, 0.503, 0.5, 0]), 1, "-0.003 as a probability"),
        (rows(ROW, [0.5, 0.4, 0, 0]), 2, "sum to 0.9"),
        (rows([0.7, 0.1, 0.15, 0.053]), 1, "sum to 1.003"),
        (rows([np.nan] * 4, [2, 0, 0, 0]), 2, "2 as a probability"),
        (rows([np.inf, 0, 0, 0], [0.5, 0, 0, 0]), 2, "sum to 0.5"),
    ],
)
def test_check_answers_refuses_what_is_not_a_softmax(member: Member, answers: Any, batch: int, words: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        check_answers(member, answers, batch)
    assert f"{member.name} gives" in str(caught.value)
    assert words in str(caught.value)


def test_check_answers_leaves_rows_that_are_not_finite(member: Member) -> None:
    check_answers(member, rows(ROW, [np.nan] * 4, [np.inf, 0, 0, 0]), 3)
    check_answers(member, rows([np.nan] * 4), 1)


def test_slack_is_known_for_every_precision() -> None:
    from braintumor.runtime.bundle.schema import PRECISIONS

    assert SLACK.keys() == set(PRECISIONS)
