"""Verdicts right at the margin, on answers whose counts are known."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from braintumor.bench.accuracy.comparison import Comparison
from braintumor.bench.accuracy.gate import Evidence, Verdict, decide_verdict
from braintumor.bench.accuracy.robustness import Stability
from braintumor.bench.document import field_values
from braintumor.bench.metrics.classification import scores
from braintumor.bench.metrics.paired import paired_metrics
from braintumor.models.labels import CLASSES

IMAGES = 2000
TRUTH = np.arange(IMAGES, dtype=np.int64) % len(CLASSES)
STABLE = Stability(IMAGES, (1, 8), 0.0, 0, 2, 0.0, 0, 1.0)
# Wrong in the reference already: other answers to them change labels, and no accuracy.
WRONG = 100


def answers(*, relabelled: int = 0, lost: int = 0) -> NDArray[np.float32]:
    """Probabilities: the first 100 images are wrong, `relabelled` of them in another way, and `lost` more are."""
    labels = TRUTH.copy()
    labels[:WRONG] = (labels[:WRONG] + 1) % len(CLASSES)
    labels[:relabelled] = (labels[:relabelled] + 1) % len(CLASSES)
    labels[WRONG : WRONG + lost] = (labels[WRONG : WRONG + lost] + 1) % len(CLASSES)
    probabilities: NDArray[np.float32] = np.eye(len(CLASSES), dtype=np.float32)[labels]
    return probabilities


def verdict(
    vote: NDArray[np.float32], member: NDArray[np.float32], margin_points: float, images: int = IMAGES
) -> Verdict:
    """On a vote and its only member beside a reference that gives `answers()` for both."""
    reference, vote, member, truth = answers()[:images], vote[:images], member[:images], TRUTH[:images]
    comparison = Comparison(
        **field_values(paired_metrics(reference, vote, truth)),
        near_duplicate_free=None,
        members={"net": paired_metrics(reference, member, truth)},
        missing_members=(),
        added_members=(),
        same_originals=True,
        flipped=(),
    )
    members = {"net": scores(member, truth, CLASSES)}
    evidence = Evidence(CLASSES, scores(vote, truth, CLASSES), members, replace(STABLE), comparison)
    return decide_verdict(evidence, margin_points)


@pytest.mark.parametrize(("flips", "status"), [(0, "accepted"), (10, "accepted"), (11, "refused")])
def test_as_many_labels_may_differ_as_the_margin_says(flips: int, status: str) -> None:
    vote = answers(relabelled=flips)
    decided = verdict(vote, vote, margin_points=0.5)
    assert 10 / IMAGES == 0.5 / 100
    assert decided.status == status, decided.reason
    failed = {finding.check for finding in decided.findings if not finding.passed}
    assert failed == ({"decisions"} if status == "refused" else set())


@pytest.mark.parametrize(("lost", "status"), [(100, "accepted"), (160, "refused")])
def test_a_member_may_lose_the_margin_and_not_twice_as_much(lost: int, status: str) -> None:
    """It loses 5 or 8 points, where 5 are allowed; the vote is as it was."""
    decided = verdict(answers(), answers(lost=lost), margin_points=5)
    assert decided.status == status, decided.reason
    failed = {finding.check for finding in decided.findings if not finding.passed}
    assert failed == ({"member accuracy"} if status == "refused" else set())


@pytest.mark.parametrize(
    ("images", "flips", "status"), [(538, 0, "not shown"), (539, 0, "accepted"), (538, 3, "refused")]
)
def test_too_few_images_show_nothing_unless_a_fault(images: int, flips: int, status: str) -> None:
    vote = answers(relabelled=flips)
    assert verdict(vote, vote, 0.5, images).status == status
