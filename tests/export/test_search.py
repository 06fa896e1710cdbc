"""The search for plans, on real small networks: its limits hold, and it does nothing twice."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from braintumor.bench.data.phantoms import phantoms
from braintumor.export.graph.groups import node_groups
from braintumor.export.graph.qdq import insert_qdq, weighted_nodes
from braintumor.export.graph.session import answers
from braintumor.export.int8 import evaluator as evaluation
from braintumor.export.int8.evaluator import Subject
from braintumor.export.int8.quality import Limits, quantization_quality
from braintumor.export.int8.search import search_plans
from braintumor.export.member import export_member
from braintumor.export.options import Target
from braintumor.export.stages import ModelStages
from braintumor.files import sha256_of
from braintumor.runtime.vote import soft_vote

CALIBRATION, VALIDATION = phantoms(24, 32, 32, seed=1), phantoms(80, 32, 32, seed=2)
GENEROUS = Limits(1.0, 1.0, 1.0, 1.0, 1.0)
STRICT = Limits(0.0, 0.0, 0.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def subjects(small_keras: Callable[..., Path], stages_of: Callable[..., ModelStages]) -> list[Subject]:
    """Two members of a vote, exported at FP32."""
    subjects = []
    for seed, weight in ((0, 1.0), (1, 2.0)):
        stages = stages_of(small_keras(f"m{seed}", seed=seed), f"m{seed}", weight)
        exported = export_member(stages, Target("fp32"))
        model, source = exported.model, exported.entry["source"]["sha256"]
        subjects.append(Subject(f"m{seed}", source, weight, model, sha256_of(model), CALIBRATION, VALIDATION))
    return subjects


@pytest.fixture(scope="module")
def labels(subjects: list[Subject]) -> Any:
    """Labels of the FP32 vote, so that every flip is an error."""
    return vote(subjects, [onnx.load(str(subject.model)) for subject in subjects]).argmax(axis=1)


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Number of images of each real evaluation."""
    done: list[int] = []

    def counting(model: bytes, images: Any) -> Any:
        done.append(len(images))
        return answers(model, images)

    monkeypatch.setattr(evaluation, "answers", counting)
    return done


def vote(subjects: list[Subject], models: list[onnx.ModelProto]) -> Any:
    each = [answers(model.SerializeToString(), VALIDATION) for model in models]
    return soft_vote(np.stack(each), [subject.weight for subject in subjects])


def searched(
    subjects: list[Subject], labels: Any, limits: Limits, step: Callable[[str], None] = lambda _: None
) -> Any:
    return search_plans(subjects, labels, {"members": ["m0", "m1"]}, limits, step)


def test_search_plans_leaves_nothing_in_float_within_generous_limits(subjects: list[Subject], labels: Any) -> None:
    for subject, plan in zip(subjects, searched(subjects, labels, GENEROUS), strict=True):
        assert (plan.float_nodes, plan.float_groups, plan.size) == ((), (), (32, 32))
        assert plan.source_sha256 == subject.source_sha256
        assert set(plan.thresholds) == {node.activation for node in weighted_nodes(onnx.load(str(subject.model)))}


def test_search_plans_keeps_the_vote_within_the_limits(subjects: list[Subject], labels: Any) -> None:
    limits = Limits(vote_flips=0.0, vote_expected_flips=0.001, vote_accuracy_drop=0.0)
    plans = searched(subjects, labels, limits)
    models = [onnx.load(str(subject.model)) for subject in subjects]
    applied = [
        insert_qdq(model, plan.thresholds, plan.float_nodes) for model, plan in zip(models, plans, strict=True)
    ]
    quality = quantization_quality(vote(subjects, applied), vote(subjects, models), labels)
    assert quality.flips == 0
    assert quality.expected_flips <= 0.001
    assert plans[0].findings["vote"]["flips"] == 0
    assert plans[0].findings["vote"]["expected_flips"] == pytest.approx(quality.expected_flips, abs=1e-6)


def test_search_plans_leaves_no_more_in_float_than_needed(subjects: list[Subject], labels: Any) -> None:
    # With a vote that may not move at all something has to stay; a group without which it also holds does not.
    plans = searched(subjects, labels, STRICT)
    naive = searched(subjects, labels, GENEROUS)
    if naive[0].findings["vote"]["expected_flips"] == 0:
        assert not any(plan.float_groups for plan in plans)
        pytest.skip("int8 costs these networks nothing")
    assert any(plan.float_groups for plan in plans)
    assert plans[0].findings["vote"]["expected_flips"] == 0
    for subject, plan in zip(subjects, plans, strict=True):
        groups = {group.name: group.nodes for group in node_groups(onnx.load(str(subject.model)))}
        assert sorted(name for group in plan.float_groups for name in groups[group]) == list(plan.float_nodes)


def test_search_plans_reports_naive_and_searched_and_ranks_every_group(subjects: list[Subject], labels: Any) -> None:
    for subject, plan in zip(subjects, searched(subjects, labels, GENEROUS), strict=True):
        findings = plan.findings
        ranked = [entry["group"] for entry in findings["ranking"]]
        assert sorted(ranked) == sorted(group.name for group in node_groups(onnx.load(str(subject.model))))
        damage = [entry["divergence_nats"] for entry in findings["ranking"]]
        assert damage == sorted(damage, reverse=True)
        assert {"naive", "searched", "vote", "naive_vote", "limits", "methods"} <= set(findings)
        assert findings["naive"]["images"] == findings["searched"]["images"] == len(VALIDATION)
        assert findings["methods"][plan.method]["divergence_nats"] == min(
            figures["divergence_nats"] for figures in findings["methods"].values()
        )


def test_search_plans_evaluates_nothing_twice_after_a_kill(
    subjects: list[Subject], labels: Any, own_cache_of_the_test: Path, evaluations: list[int]
) -> None:
    steps = 0

    def killed(_: str) -> None:
        nonlocal steps
        steps += 1
        if steps == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        searched(subjects, labels, STRICT, killed)
    before = len(evaluations)
    resumed = searched(subjects, labels, STRICT)
    assert 0 < before < len(evaluations)
    done = len(evaluations)
    assert searched(subjects, labels, STRICT) == resumed
    assert len(evaluations) == done, "a finished search asks nothing again"
    for entry in own_cache_of_the_test.iterdir():
        entry.rename(entry.with_name(f"{entry.name}-old"))
    assert searched(subjects, labels, STRICT) == resumed
    assert len(evaluations) - done == done, "as much in one go as in two parts"


def test_search_plans_reports_every_evaluation(subjects: list[Subject], labels: Any) -> None:
    steps: list[str] = []
    searched(subjects, labels, GENEROUS, steps.append)
    expected = ("m0: ranges of activations", "m1: int8 by entropy", "m0: int8 in stem alone", "m1: FP32", "80 images")
    for words in expected:
        assert any(words in step for step in steps)
