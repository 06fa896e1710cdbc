"""Cascades: sure members answer for all, with the bundle's threshold and nobody else's."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braintumor.errors import IntegrityError, UsageError
from braintumor.runtime.bundle.load import load_bundle
from braintumor.runtime.cascade import Cascade, members_sha256, settled_labels
from braintumor.runtime.early_exit import UNDECIDED, leaders
from braintumor.runtime.ensemble import Ensemble
from braintumor.runtime.vote import vote_shares

SURE, TORN = 250, 12
"""Grey levels of images for which the members of `small_graph` are sure, or torn."""


@pytest.fixture
def bundle(handmade: Callable[..., Path], graph: Callable[..., Any]) -> Path:
    return handmade(graph(), graph(), graph())


def with_cascade(folder: Path, **changed: Any) -> Path:
    """Write a cascade into the `bundle.json` of three equal members."""
    members = load_bundle(folder).members
    cascade = Cascade(
        order=tuple(member.name for member in reversed(members)),
        threshold=0.9,
        risk=0.005,
        confidence=0.95,
        images=702,
        labels_differing=0,
        members_run_mean=1.2,
        images_sha256="0" * 64,
        members_sha256=members_sha256([(member.sha256, member.weight) for member in members]),
    )
    path = folder / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"cascade": {**cascade.to_dict(), **changed}}))
    return folder


def test_sure_images_take_the_first_member_and_torn_ones_all(bundle: Path) -> None:
    images = [np.full((16, 16), level, np.uint8) for level in (SURE, TORN, SURE)]
    with Ensemble.load(with_cascade(bundle), engine="onnxruntime-cpu", policy="cascade") as ensemble:
        predictions = list(ensemble.predict_many(images))
    assert [prediction.members_run for prediction in predictions] == [1, 3, 1]
    assert predictions[0].members[0].name == load_bundle(bundle).names[-1]
    assert {(prediction.policy, prediction.risk) for prediction in predictions} == {("cascade", 0.005)}
    assert predictions[0].to_dict()["risk"] == 0.005
    assert predictions[0].bounds is not None
    assert predictions[1].bounds is None


def test_other_policies_state_no_risk(bundle: Path) -> None:
    image = np.full((16, 16), SURE, np.uint8)
    with Ensemble.load(with_cascade(bundle), engine="onnxruntime-cpu", policy="early-exit") as ensemble:
        prediction = ensemble.predict(image)
    assert (prediction.members_run, prediction.risk) == (2, None)


def test_a_bundle_without_a_cascade_is_refused(bundle: Path) -> None:
    with pytest.raises(UsageError, match="no cascade"):
        Ensemble.load(bundle, engine="onnxruntime-cpu", policy="cascade")


@pytest.mark.parametrize(
    "changed",
    [
        {"threshold": 0},
        {"threshold": 1.5},
        {"threshold": "0.9"},
        {"risk": 1},
        {"images": None},
        {"order": ["m0", "m1"]},
        {"order": ["m0", "m1", "m1"]},
        {"members_sha256": "1" * 64},
    ],
)
def test_load_bundle_refuses_a_cascade_that_is_wrong_or_of_other_members(
    bundle: Path, changed: dict[str, Any]
) -> None:
    with pytest.raises(IntegrityError, match="'cascade'"):
        load_bundle(with_cascade(bundle, **changed))


def test_a_cascade_is_a_part_of_the_identity(bundle: Path) -> None:
    hashes = {load_bundle(bundle).sha256}
    hashes |= {load_bundle(with_cascade(bundle, threshold=threshold)).sha256 for threshold in (0.8, 0.9)}
    assert len(hashes) == 3


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.floats(0.3, 1))
def test_settled_labels_are_of_sure_votes_or_certain(seed: int, ran: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet([0.3] * 4, (ran, 5)).astype(np.float32)
    shares = vote_shares(rng.uniform(0.5, 2, 3).tolist())
    labels = settled_labels(rows, shares[:ran], shares[ran:], threshold)
    certain = leaders(rows, shares[:ran], shares[ran:])
    vote = np.average(rows.astype(np.float64), axis=0, weights=shares[:ran])
    for row, label in enumerate(labels):
        if label == UNDECIDED:
            assert certain[row] == UNDECIDED
            assert ran == 3 or vote[row].max() < threshold + 1e-6
        else:
            assert label == vote[row].argmax()
            assert certain[row] == label or vote[row].max() >= threshold - 1e-6


def test_settled_labels_leave_what_is_not_a_number_undecided() -> None:
    rows = np.full((1, 1, 4), np.nan, np.float32)
    assert settled_labels(rows, np.float32([0.5]), np.float32([0.5]), 0.1).tolist() == [UNDECIDED]
