"""Search for the groups of nodes that must stay in float so that the VOTE keeps its decisions, on validation images.

Per member: thresholds by every method, of which the one closest to FP32 is taken; then each group is quantised
alone and ranked by the damage that it does. Then at the level of the vote: everything is quantised; while the
ensemble is not within the limits, the most damaging group that is still int8 goes back to float; at the end,
groups that need not stay in float are quantised again. Damage is the mean Kullback-Leibler divergence of a
member's int8 answers from its FP32 answers, in nats, times its share in the vote.

The search runs on the images whose vote has the lowest margin, and some of the others: only they can change their
label, and they are a sixth of the work. Its result is then confirmed on all images; if it does not hold there, the
search goes on with all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from braintumor.export.graph.groups import Group, node_groups
from braintumor.export.graph.quantization_plan import QuantisationPlan
from braintumor.export.graph.structure import structure_of
from braintumor.export.int8.evaluator import Evaluator, StepCallback, Subject
from braintumor.export.int8.quality import Answers, Limits, QuantizationQuality, low_margin, quantization_quality
from braintumor.runtime.vote import soft_vote

__all__ = ["search_plans"]

# Of the images without a low margin, one in so many is watched.
_STRIDE: Final = 12
# The usual method without a search, to compare with.
_NAIVE: Final = "minmax"

Indices = NDArray[np.intp]


def search_plans(
    subjects: Sequence[Subject],
    labels: NDArray[np.int64],
    data: Mapping[str, Any],
    limits: Limits,
    step: StepCallback,
) -> tuple[QuantisationPlan, ...]:
    """Search a plan for every member such that their vote is within the limits.

    Args:
        subjects: In the order of the bundle.
        labels: int64 [m], the truth of the validation images.
        data: Hashes and counts of the image sets, for the plans.
        limits: Of what int8 may cost.
        step: Gets a description before each evaluation.
    """
    evaluators = [Evaluator(subject, step) for subject in subjects]
    references = [evaluator.fp32() for evaluator in evaluators]
    vote = soft_vote(np.stack(references), [subject.weight for subject in subjects])
    watched = np.union1d(low_margin(vote), np.arange(0, len(labels), _STRIDE))
    states = [
        _prepared(evaluator, reference, labels, watched)
        for evaluator, reference in zip(evaluators, references, strict=True)
    ]
    everything = np.arange(len(labels))
    for indices in (watched, everything):
        _search(states, labels, limits, indices)
        for state in states:
            state.current = state.answers(state.in_float, everything)
        if _acceptable(states, labels, limits):
            break
    naive = [state.evaluator.int8(state.naive_thresholds, (), everything, f"int8 by {_NAIVE}") for state in states]
    findings = {
        **data,
        "limits": asdict(limits),
        "naive_vote": _figures(_vote_quality(states, naive, labels)),
        "vote": _figures(_vote_quality(states, [state.current for state in states], labels)),
    }
    return tuple(_plan(state, labels, answers, findings) for state, answers in zip(states, naive, strict=True))


@dataclass(slots=True, eq=False)
class _State:
    """A member during the search."""

    evaluator: Evaluator
    method: str
    methods: Mapping[str, QuantizationQuality]
    thresholds: Mapping[str, float]
    naive_thresholds: Mapping[str, float]
    ranking: Sequence[tuple[Group, QuantizationQuality]]
    reference: Answers
    current: Answers
    in_float: list[Group] = field(default_factory=list)

    def answers(self, groups: Sequence[Group], indices: Indices) -> Answers:
        """Answers to all images with these groups in float: int8's at the indices, FP32's elsewhere."""
        in_float = sorted(groups, key=lambda group: group.name)
        description = f"int8 but for {', '.join(group.name for group in in_float) or 'nothing'}"
        answers = self.reference.copy()
        answers[indices] = self.evaluator.int8(self.thresholds, in_float, indices, description)
        return answers

    def damage(self, group: Group) -> float:
        """Damage of quantising that group alone, weighted by the member's part in the vote."""
        alone = next(quality for other, quality in self.ranking if other == group)
        return alone.divergence_nats * self.evaluator.subject.weight


def _prepared(evaluator: Evaluator, reference: Answers, labels: NDArray[np.int64], watched: Indices) -> _State:
    by_method = evaluator.thresholds()

    def measure(method: str, in_float: Sequence[Group], description: str) -> QuantizationQuality:
        answers = evaluator.int8(by_method[method], in_float, watched, description)
        return quantization_quality(answers, reference[watched], labels[watched])

    methods = {method: measure(method, (), f"int8 by {method}") for method in by_method}
    method = min(methods, key=lambda name: methods[name].divergence_nats)
    groups = node_groups(evaluator.model)
    ranking = [
        (group, measure(method, [other for other in groups if other != group], f"int8 in {group.name} alone"))
        for group in groups
    ]
    ranking.sort(key=lambda entry: -entry[1].divergence_nats)
    return _State(
        evaluator, method, methods, by_method[method], by_method[_NAIVE], ranking, reference, current=reference
    )


def _search(states: Sequence[_State], labels: NDArray[np.int64], limits: Limits, indices: Indices) -> None:
    """Leave groups in float until the vote is within the limits on these images, and no more than it takes."""
    for state in states:
        state.current = state.answers(state.in_float, indices)
    _leave_in_float(states, labels, limits, indices)
    _quantise_again(states, labels, limits, indices)


def _leave_in_float(states: Sequence[_State], labels: NDArray[np.int64], limits: Limits, indices: Indices) -> None:
    while not _acceptable(states, labels, limits):
        # A member that fails by itself comes first; otherwise the one with the most damage.
        failing = [state for state in states if not _member_acceptable(state, labels, limits)]
        candidates = [
            (state.damage(group), state, group)
            for state in failing or states
            for group, _ in state.ranking
            if group not in state.in_float
        ]
        if not candidates:
            return
        _, state, group = max(candidates, key=lambda candidate: candidate[0])
        state.in_float.append(group)
        state.current = state.answers(state.in_float, indices)


def _quantise_again(states: Sequence[_State], labels: NDArray[np.int64], limits: Limits, indices: Indices) -> None:
    for state in states:
        for group in sorted(state.in_float, key=state.damage):
            before, others = state.current, [other for other in state.in_float if other != group]
            state.current = state.answers(others, indices)
            if _acceptable(states, labels, limits):
                state.in_float = others
            else:
                state.current = before


def _acceptable(states: Sequence[_State], labels: NDArray[np.int64], limits: Limits) -> bool:
    vote = _vote_quality(states, [state.current for state in states], labels)
    members = all(_member_acceptable(state, labels, limits) for state in states)
    within = vote.within(limits.vote_flips, limits.vote_accuracy_drop)
    return members and within and vote.expected_flips <= limits.vote_expected_flips


def _member_acceptable(state: _State, labels: NDArray[np.int64], limits: Limits) -> bool:
    member = quantization_quality(state.current, state.reference, labels)
    return member.within(limits.member_flips, limits.member_accuracy_drop)


def _vote_quality(
    states: Sequence[_State], answers: Sequence[Answers], labels: NDArray[np.int64]
) -> QuantizationQuality:
    """Quality of a vote of the members' answers, beside that of their FP32 ones."""
    weights = [state.evaluator.subject.weight for state in states]
    reference = np.stack([state.reference for state in states])
    return quantization_quality(soft_vote(np.stack(answers), weights), soft_vote(reference, weights), labels)


def _plan(state: _State, labels: NDArray[np.int64], naive: Answers, findings: Mapping[str, Any]) -> QuantisationPlan:
    subject = state.evaluator.subject
    height, width = subject.validation.shape[1:]
    ranking = [{"group": group.name, "nodes": len(group.nodes), **_figures(alone)} for group, alone in state.ranking]
    return QuantisationPlan(
        source_sha256=subject.source_sha256,
        size=(height, width),
        structure=structure_of(onnx.load(str(subject.model))),
        method=state.method,
        thresholds=state.thresholds,
        float_nodes=tuple(sorted(name for group in state.in_float for name in group.nodes)),
        float_groups=tuple(group.name for group in state.in_float),
        findings={
            **findings,
            "methods": {name: _figures(quality) for name, quality in state.methods.items()},
            "ranking": ranking,
            "naive": _figures(quantization_quality(naive, state.reference, labels)),
            "searched": _figures(quantization_quality(state.current, state.reference, labels)),
        },
    )


def _figures(quality: QuantizationQuality) -> dict[str, Any]:
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(quality).items()}
