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
def test_an_early_label_is_that_of_the_full_vote(data: st.DataObject) -> None:
    given_weights = data.draw(weights)
    rows = data.draw(softmaxes(len(given_weights)))
    shares = vote_shares(given_weights)
    full = soft_vote(rows, given_weights)
    for ran in every_split(shares):
        others = [index for index in range(len(shares)) if index not in ran]
        found = leaders(rows[list(ran)], shares[list(ran)], shares[others])
        certain = found != UNDECIDED
        assert (found[certain] == full.argmax(axis=1)[certain]).all()
        ordered = np.sort(full, axis=1)
        assert (ordered[certain, -1] > ordered[certain, -2]).all(), "called certain, and tied"


@settings(max_examples=300, deadline=None)
@given(weights, st.integers(0, 2**32 - 1), st.integers(-40, 40))
@example([1.0, 1.0, 1.0], 0, 0)
def test_the_worst_that_the_others_can_do_never_turns_an_early_label(
    given_weights: list[float], seed: int, ulps: int
) -> None:
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
    found = leaders(rows[:split], shares[:split], shares[split:])[0]
    vote = soft_vote(rows, given_weights)[0]
    if found != UNDECIDED:
        assert found == vote.argmax()
        assert vote[found] > np.delete(vote, found).max()


def test_the_rule_does_decide() -> None:
    sure = np.array([[[0.99, 0.01, 0, 0]]] * 2, np.float32)
    thirds = vote_shares([1, 1, 1])
    assert leaders(sure, thirds[:2], thirds[2:]).tolist() == [0]
    assert leaders(sure[:1], thirds[:1], thirds[1:]).tolist() == [UNDECIDED]
    heavy = vote_shares([3, 1])
    assert leaders(sure[:1], heavy[:1], heavy[1:]).tolist() == [0]


def test_two_equal_members_never_decide_early() -> None:
    shares = vote_shares([1, 1])
    certain = np.eye(4, dtype=np.float32)[np.newaxis]
    assert (leaders(certain, shares[:1], shares[1:]) == UNDECIDED).all()


def test_a_lead_of_exactly_the_rest_is_not_enough() -> None:
    rows = np.array([[[1, 0, 0, 0]], [[0, 1, 0, 0]]], np.float32)
    shares = vote_shares([2, 1, 1])
    assert leaders(rows[:1], shares[:1], shares[1:]).tolist() == [UNDECIDED]
    assert soft_vote(np.concatenate([rows, rows[1:]]), [2, 1, 1])[0, :2].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("odd", [np.nan, np.inf, -1e-3, 1.5])
def test_what_is_no_probability_decides_nothing(odd: float) -> None:
    rows = np.array([[[odd, 0, 0, 0], [1, 0, 0, 0]]], np.float32)
    shares = vote_shares([9, 1])
    assert leaders(rows, shares[:1], shares[1:]).tolist() == [UNDECIDED, 0]


def test_all_members_leave_only_ties_open() -> None:
    rows = np.array([[[0.5, 0.5, 0, 0], [0.6, 0.4, 0, 0]]], np.float32)
    assert leaders(rows, vote_shares([1]), vote_shares([1])[1:]).tolist() == [UNDECIDED, 0]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_full_vote_lies_within_the_bounds(data: st.DataObject) -> None:
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
def test_the_cheapest_majority_runs_first(shares: list[float], costs: list[float], order: tuple[int, ...]) -> None:
    assert running_order(shares, costs) == order


def test_many_members_are_ordered_by_share_for_cost() -> None:
    assert running_order([1 / 20] * 20, list(range(20, 0, -1))) == tuple(range(19, -1, -1))


@given(weights, st.integers(0, 999))
def test_every_member_has_its_place(given_weights: list[float], seed: int) -> None:
    costs = np.random.default_rng(seed).uniform(0.1, 9, len(given_weights)).tolist()
    order = running_order(vote_shares(given_weights).tolist(), costs)
    assert sorted(order) == list(range(len(given_weights)))
