"""Early exit on loaded members: the label of the full vote, by fewer members where these are sure."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braintumor.bench.data.phantoms import phantoms
from braintumor.errors import UsageError
from braintumor.runtime.ensemble import Ensemble
from braintumor.runtime.prediction import Prediction

SURE, OPEN, NOT_A_NUMBER = 250, 12, 0
"""Grey levels of images for which the members of `small_graph` are sure, torn, or give NaN."""


def flat(*levels: int) -> list[np.ndarray]:
    return [np.full((16, 16), level, np.uint8) for level in levels]


def answered(bundle: Path, images: list[np.ndarray], policy: Any, **options: Any) -> list[Prediction]:
    with Ensemble.load(bundle, engine="onnxruntime-cpu", policy=policy) as ensemble:
        return list(ensemble.predict_many(images, **options))


@pytest.fixture
def bundle(handmade: Callable[..., Path], graph: Callable[..., Any]) -> Path:
    return handmade(graph(), graph(), graph())


def test_early_exit_runs_two_of_three_members_on_sure_images(bundle: Path) -> None:
    images = flat(SURE, OPEN, SURE, OPEN, SURE)
    early, full = (answered(bundle, images, policy) for policy in ("early-exit", "full"))
    assert [record.members_run for record in early] == [2, 3, 2, 3, 2]
    assert [record.members_run for record in full] == [3] * 5
    assert [record.label for record in early] == [record.label for record in full]
    for prediction, whole in zip(early, full, strict=True):
        assert (prediction.policy, whole.policy) == ("early-exit", "full")
        assert whole.bounds is None
        if prediction.members_run == 3:
            assert (prediction.bounds, prediction.probabilities, prediction.margin) == (
                None,
                whole.probabilities,
                whole.margin,
            )
        else:
            assert prediction.margin is None
            assert prediction.entropy_nats is None
            assert prediction.bounds is not None
            for name, (low, high) in prediction.bounds.items():
                assert low - 1e-6 <= whole.probabilities[name] <= high + 1e-6


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_early_exit_gives_the_label_of_the_full_vote(three: Path, batch_size: int) -> None:
    images = list(phantoms(12, 64, 64, seed=4))
    early = answered(three, images, "early-exit", batch_size=batch_size)
    assert [prediction.label for prediction in early] == [
        prediction.label for prediction in answered(three, images, "full")
    ]


def test_early_exit_runs_no_member_on_a_decided_batch(bundle: Path) -> None:
    with Ensemble.load(bundle, engine="onnxruntime-cpu", policy="early-exit") as ensemble:
        batch = np.stack(flat(SURE, SURE))
        predictions = ensemble.member_predictions(dict.fromkeys(ensemble.geometries, batch))
    assert predictions.ran.sum(axis=0).tolist() == [2, 2]
    assert (predictions.probabilities[~predictions.ran] == 0).all()


def test_early_exit_gives_no_label_for_nan(bundle: Path) -> None:
    bad, good = answered(bundle, flat(NOT_A_NUMBER, SURE), "early-exit")
    assert (bad.status, bad.label) == ("error", None)
    assert (good.status, good.members_run) == ("ok", 2)


def test_load_refuses_an_unknown_policy(bundle: Path) -> None:
    with pytest.raises(UsageError, match="'half'; allowed are full, early-exit"):
        Ensemble.load(bundle, policy="half")  # type: ignore[arg-type]
