"""A vote that is called decided early has the label of the full vote, whatever the other members say."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from braintumor.runtime.early_exit import UNDECIDED, bounds, leaders, running_order, slack
from braintumor.runtime.vote import soft_vote, vote_shares

CLASSES = 4

weights = st.lists(
    st.one_of(st.just(1.0), st.floats(1e-3, 1e3), st.sampled_from([1.0, 2.0, 3.0])), min_size=1, max_size=6
)


@st.composite
def softmaxes(draw: st.DrawFn, members: int, batch: int = 3) -> NDArray[np.float32]:
    """Sure, unsure and tied answers, and some that rounding brought just above or below a tie."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sharpness = draw(st.sampled_from([0.0, 0.1, 1.0, 8.0, 50.0]))
    logits = rng.normal(0, 1, (members, batch, CLASSES)) * sharpness
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    rows = (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
    if draw(st.booleans()):
        # Steps of a half, a third, …: exact ties between classes and between members.
        steps = draw(st.sampled_from([1, 2, 3, 4]))
        rows = (np.round(rows * steps) / steps).astype(np.float32)
    if draw(st.booleans()):
        rows = np.nextafter(rows, rng.choice(np.array([0, 1], np.float32), rows.shape))
    return rows


def every_split(shares: NDArray[np.float32]) -> Any:
    return itertools.chain.from_iterable(
        itertools.combinations(range(len(shares)), size) for size in range(1, len(shares) + 1)
    )


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_leaders_give_the_label_of_the_full_vote(data: st.DataObject) -> None:
    given_weights = data.draw(weights)
    rows = data.draw(softmaxes(len(given_weights)))
    shares = vote_shares(given_weights)
    full = soft_vote(rows, given_weights)
    for ran in every_split(shares):
        others = [index for index in range(len(shares)) if index not in ran]
        labels = leaders(rows[list(ran)], shares[list(ran)], shares[others])
        certain = labels != UNDECIDED
        assert (labels[certain] == full.argmax(axis=1)[certain]).all()
        ordered = np.sort(full, axis=1)
        assert (ordered[certain, -1] > ordered[certain, -2]).all(), "called certain, and tied"


@settings(max_examples=300, deadline=None)
@given(weights, st.integers(0, 2**32 - 1), st.integers(-40, 40))
@example([1.0, 1.0, 1.0], 0, 0)
def test_leaders_hold_against_the_worst_of_the_others(given_weights: list[float], seed: int, ulps: int) -> None:
    """One member's lead is set to the brink of what the others can turn, and they do their worst."""
    shares = vote_shares(given_weights)
    split = 1 + seed % len(shares)
    others_share = float(shares[split:].sum(dtype=np.float64))
    own_share = float(shares[:split].sum(dtype=np.float64))
    lead = np.float32((others_share + ulps * slack(len(shares)) / 20) / own_share)
    leading = np.float32((1 + lead) / 2)
    if not 0 <= leading <= 1:
        return
    rows = np.zeros((len(shares), 1, CLASSES), np.float32)
    rows[:split, 0, :2] = leading, np.float32(1) - leading
    rows[split:, 0, 1] = np.nextafter(np.float32(1), np.float32(2))
    label = leaders(rows[:split], shares[:split], shares[split:])[0]
    vote = soft_vote(rows, given_weights)[0]
    if label != UNDECIDED:
        assert label == vote.argmax()
        assert vote[label] > np.delete(vote, label).max()


def test_leaders_leave_open_what_rounding_may_turn() -> None:
    """The lead exceeds the shares to come by half of the slack, and by twice as much as it."""
    answers = np.array([[[1, 0, 0, 0]]], np.float32)
    for excess, label in ((0.5 * slack(2), UNDECIDED), (2 * slack(2), 0)):
        own, to_come = np.array([[0.5 + excess / 2], [0.5 - excess / 2]], np.float32)
        assert leaders(answers, own, to_come).tolist() == [label]


def test_leaders_decide_sure_images() -> None:
    sure = np.array([[[0.99, 0.01, 0, 0]]] * 2, np.float32)
    thirds = vote_shares([1, 1, 1])
    assert leaders(sure, thirds[:2], thirds[2:]).tolist() == [0]
    assert leaders(sure[:1], thirds[:1], thirds[1:]).tolist() == [UNDECIDED]
    heavy = vote_shares([3, 1])
    assert leaders(sure[:1], heavy[:1], heavy[1:]).tolist() == [0]


def test_leaders_never_decide_after_one_of_two_equal_members() -> None:
    shares = vote_shares([1, 1])
    certain = np.eye(4, dtype=np.float32)[np.newaxis]
    assert (leaders(certain, shares[:1], shares[1:]) == UNDECIDED).all()


def test_leaders_need_more_than_the_shares_to_come() -> None:
    rows = np.array([[[1, 0, 0, 0]], [[0, 1, 0, 0]]], np.float32)
    shares = vote_shares([2, 1, 1])
    assert leaders(rows[:1], shares[:1], shares[1:]).tolist() == [UNDECIDED]
    assert soft_vote(np.concatenate([rows, rows[1:]]), [2, 1, 1])[0, :2].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("invalid", [np.nan, np.inf, -1e-3, 1.5])
def test_leaders_ignore_values_that_are_not_probabilities(invalid: float) -> None:
    rows = np.array([[[invalid, 0, 0, 0], [1, 0, 0, 0]]], np.float32)
    shares = vote_shares([9, 1])
    assert leaders(rows, shares[:1], shares[1:]).tolist() == [UNDECIDED, 0]


def test_leaders_of_all_members_leave_only_ties_open() -> None:
    rows = np.array([[[0.5, 0.5, 0, 0], [0.6, 0.4, 0, 0]]], np.float32)
    assert leaders(rows, vote_shares([1]), vote_shares([1])[1:]).tolist() == [UNDECIDED, 0]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_bounds_hold_the_full_vote(data: st.DataObject) -> None:
    given_weights = data.draw(weights)
    rows = data.draw(softmaxes(len(given_weights)))
    shares = vote_shares(given_weights)
    full = soft_vote(rows, given_weights)
    for ran in every_split(shares):
        others = [index for index in range(len(shares)) if index not in ran]
        lower, upper = bounds(rows[list(ran)], shares[list(ran)], shares[others])
        assert ((lower >= 0) & (lower <= upper) & (upper <= 1)).all()
        assert (full >= lower - slack(len(shares))).all()
        assert (full <= upper + slack(len(shares))).all()


@pytest.mark.parametrize(
    ("shares", "costs", "order"),
    [
        ([1 / 3] * 3, [5, 1, 2], (1, 2, 0)),
        ([1 / 3] * 3, [1, 1, 1], (0, 1, 2)),
        ([0.5, 0.5], [2, 1], (1, 0)),
        ([0.6, 0.2, 0.2], [3, 1, 1], (0, 1, 2)),
        # Two light members cost less than the heavy one, and hold no majority.
        ([0.6, 0.2, 0.2], [9, 1, 1], (0, 1, 2)),
        ([0.4, 0.3, 0.3], [9, 1, 1], (1, 2, 0)),
        ([1.0], [7], (0,)),
    ],
)
def test_running_order_begins_with_the_cheapest_majority(
    shares: list[float], costs: list[float], order: tuple[int, ...]
) -> None:
    assert running_order(shares, costs) == order


def test_running_order_of_many_members_is_by_share_for_cost() -> None:
    assert running_order([1 / 20] * 20, list(range(20, 0, -1))) == tuple(range(19, -1, -1))


@given(weights, st.integers(0, 999))
def test_running_order_holds_every_member(given_weights: list[float], seed: int) -> None:
    costs = np.random.default_rng(seed).uniform(0.1, 9, len(given_weights)).tolist()
    order = running_order(vote_shares(given_weights).tolist(), costs)
    assert sorted(order) == list(range(len(given_weights)))
