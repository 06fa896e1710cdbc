"""The vote is chosen by what validation images can tell, and by nothing else."""

from itertools import pairwise

import numpy as np
import pytest

from braintumor.bench.metrics.intervals import Pairs, mcnemar_p
from braintumor.errors import IntegrityError, UsageError
from braintumor.training.data.predictions import Predictions
from braintumor.training.report.vote import Vote, choose_vote, equal_vote, soft_vote, subsets

_NAMES = ("EfficientNetV2M", "DenseNet121", "InceptionResNetV2", "EfficientNetV2S")


def _answers(count: int = 702, *, seed: int = 0, skill: float = 2.0, sharpness: float = 1.0) -> Predictions:
    """A model that is right as often as its skill says, and as sure of itself as its sharpness."""
    labels = np.arange(count) % 4
    logits = sharpness * (np.random.default_rng(seed).normal(size=(count, 4)) + skill * np.eye(4)[labels])
    powers = np.exp(logits)
    files = tuple(f"{number}.png" for number in range(count))
    return Predictions(files, labels.astype(np.int64), powers / powers.sum(axis=1, keepdims=True))


def _disputed(count: int) -> dict[str, Predictions]:
    """Two models of 200 images; in `count` of them only votes with 0.7 and more for the first are right."""
    labels = np.zeros(200, np.int64)
    first, second = (np.tile([0.9, 0.1, 0.0, 0.0], (200, 1)) for _ in range(2))
    first[:count], second[:count] = (0.7, 0.3, 0.0, 0.0), (0.2, 0.8, 0.0, 0.0)
    files = tuple(f"{number}.png" for number in range(200))
    return {"a": Predictions(files, labels, first), "b": Predictions(files, labels, second)}


def test_subsets_of_four_models_are_eleven() -> None:
    assert len(subsets(_NAMES)) == 11
    assert subsets(("a", "b")) == [("a", "b")]


def test_soft_vote_is_the_weighted_mean() -> None:
    first, second = _answers(seed=1), _answers(seed=2)
    vote = soft_vote({"a": first, "b": second}, Vote(("a", "b"), (0.25, 0.75)))
    assert np.allclose(vote.probabilities, 0.25 * first.probabilities + 0.75 * second.probabilities)


def test_choose_vote_keeps_all_models_where_the_images_cannot_tell() -> None:
    validation = {name: _answers(seed=seed) for seed, name in enumerate(_NAMES)}
    choice = choose_vote(validation)
    assert choice.vote == equal_vote(_NAMES)
    # Something else did decide more of these very images: that is what must not decide.
    assert choice.weights.accuracy > choice.reference.accuracy
    assert (choice.weights.tried, choice.models[0].tried) == (84, 10)
    assert not any(compared.better for compared in (*choice.models, choice.weights))


def test_choose_vote_leaves_out_a_model_that_spoils_the_vote() -> None:
    validation = {name: _answers(seed=seed) for seed, name in enumerate(_NAMES[:3])}
    # Always sure, right as often as a coin with four sides.
    validation[_NAMES[3]] = _answers(seed=9, skill=0.0, sharpness=20.0)
    choice = choose_vote(validation)
    assert choice.vote == equal_vote(_NAMES[:3])
    everyone = next(compared for compared in choice.models if compared.vote.members == _NAMES)
    assert everyone.is_significant
    assert everyone.lost > everyone.gained


def test_choose_vote_takes_weights_that_help() -> None:
    validation = {"a": _answers(seed=1, skill=3.0), "b": _answers(seed=2, skill=0.0, sharpness=20.0)}
    choice = choose_vote(validation)
    assert choice.vote == choice.weights.vote
    assert choice.vote.weights[0] > 0.6
    assert choice.weights.better
    fresh = {"a": _answers(seed=3, skill=3.0), "b": _answers(seed=4, skill=0.0, sharpness=20.0)}
    accuracy = {
        vote.weights: (soft_vote(fresh, vote).probabilities.argmax(axis=1) == fresh["a"].labels).mean()
        for vote in (choice.vote, equal_vote(("a", "b")))
    }
    assert accuracy[choice.vote.weights] > accuracy[0.5, 0.5] + 0.05


@pytest.mark.parametrize(("gained", "taken"), [(8, False), (9, True)])
def test_choose_vote_corrects_p_for_every_vote_that_was_tried(gained: int, taken: bool) -> None:
    # Eight weightings of two models are not equal: 8 x 2 / 2^8 = 0.0625, and 8 x 2 / 2^9 = 0.031.
    choice = choose_vote(_disputed(gained))
    compared = choice.weights
    assert (compared.gained, compared.lost, compared.tried) == (gained, 0, 8)
    assert compared.p == 2 / 2**gained
    assert compared.p_corrected == 8 * compared.p
    assert compared.better is taken
    assert choice.vote.weights == (compared.vote.weights if taken else (0.5, 0.5))


def test_choose_vote_gives_the_test_of_every_vote() -> None:
    validation = {name: _answers(seed=seed, skill=1.5 + 0.2 * seed) for seed, name in enumerate(_NAMES)}
    choice = choose_vote(validation)
    reference = choice.reference
    assert (reference.gained, reference.lost, reference.p) == (0, 0, 1.0)
    assert len(choice.models) == 11
    assert all(compared.accuracy >= other.accuracy for compared, other in pairwise(choice.models))
    right = {
        compared.vote: soft_vote(validation, compared.vote).probabilities.argmax(axis=1)
        == validation[_NAMES[0]].labels
        for compared in choice.models
    }
    for compared in choice.models:
        assert compared.accuracy == right[compared.vote].mean()
        assert compared.p == mcnemar_p(Pairs.of(right[reference.vote], right[compared.vote]))
    stored = choice.to_json()
    assert stored["models"][0]["p_corrected"] == choice.models[0].p_corrected
    assert stored["vote"]["members"] == choice.vote.members


def test_choose_vote_hardly_ever_tells_models_of_equal_skill_apart() -> None:
    sets = 100
    left, luckier = 0, 0
    for number in range(sets):
        validation = {name: _answers(300, seed=4 * number + place) for place, name in enumerate(_NAMES)}
        choice = choose_vote(validation)
        everyone = next(compared for compared in choice.models if compared.vote.members == _NAMES)
        left += choice.vote != equal_vote(_NAMES)
        luckier += max(choice.weights.accuracy, choice.models[0].accuracy) > everyone.accuracy
    assert luckier > 0.5 * sets, "the simulation leaves nothing to be led astray by"
    # Two questions at 5 % each: beyond 10 % by more than chance would be a fault of the rule.
    assert left <= 10


def test_choose_vote_refuses_predictions_of_different_images() -> None:
    with pytest.raises(IntegrityError, match="different images"):
        choose_vote({"a": _answers(200), "b": _answers(100)})


def test_choose_vote_refuses_a_single_model() -> None:
    with pytest.raises(UsageError, match="two models or more, got a"):
        choose_vote({"a": _answers(8)})
