"""Which groups of nodes must stay in float so that the VOTE keeps its decisions? Found on validation images.

Per member: thresholds by every method, of which the one closest to FP32 is kept; then each group is quantised
alone and ranked by the damage that it does. Then at the level of the vote: everything is quantised; while the
ensemble is not within the limits, the most damaging group that is still int8 goes back to float; at the end,
groups that turned out not to be needed are quantised again. Damage is the mean Kullback-Leibler divergence of a
member's int8 answers from its FP32 answers, in nats, times its share in the vote.

All this watches the images whose vote is in the most doubt, and some of the others: only they can change sides, and
they are a sixth of the work. What was found is then confirmed on all images; if it does not hold there, the search
goes on with all of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from braintumor.export.graph.groups import Group, node_groups
from braintumor.export.graph.quantization_plan import QuantisationPlan
from braintumor.export.graph.structure import structure_of
from braintumor.export.int8.evaluator import Evaluator, Step, Subject
from braintumor.export.int8.quality import Answers, Limits, Quality, doubtful, quality
from braintumor.runtime.vote import soft_vote

__all__ = ["search_plans"]

# Of the images that are in no doubt, one in so many is watched.
_STRIDE: Final = 12
# What everybody does without a search, to be compared with what was searched.
_NAIVE: Final = "minmax"

Indices = NDArray[np.intp]


def search_plans(
    subjects: Sequence[Subject], labels: NDArray[np.int64], data: Mapping[str, Any], limits: Limits, step: Step
) -> tuple[QuantisationPlan, ...]:
    """Search a plan for every member such that their vote is within the limits.

    Args:
        subjects: In the order of the bundle.
        labels: int64 [m], the truth of the validation images.
        data: Hashes and counts of the image sets, for the plans.
        limits: What int8 may cost.
        step: Told before each evaluation.
    """
    evaluators = [Evaluator(subject, step) for subject in subjects]
    references = [evaluator.fp32() for evaluator in evaluators]
    vote = soft_vote(np.stack(references), [subject.weight for subject in subjects])
    watched = np.union1d(doubtful(vote), np.arange(0, len(labels), _STRIDE))
    states = [
        _prepared(evaluator, reference, labels, watched)
        for evaluator, reference in zip(evaluators, references, strict=True)
    ]
    everything = np.arange(len(labels))
    for which in (watched, everything):
        _search(states, labels, limits, which)
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
    return tuple(_plan(state, labels, found, findings) for state, found in zip(states, naive, strict=True))


@dataclass(slots=True, eq=False)
class _State:
    """A member on its way."""

    evaluator: Evaluator
    method: str
    methods: Mapping[str, Quality]
    thresholds: Mapping[str, float]
    naive_thresholds: Mapping[str, float]
    ranking: Sequence[tuple[Group, Quality]]
    reference: Answers
    current: Answers
    in_float: list[Group] = field(default_factory=list)

    def answers(self, groups: Sequence[Group], which: Indices) -> Answers:
        """To all images with these groups in float; those that are not asked answer as FP32 does."""
        kept = sorted(groups, key=lambda group: group.name)
        what = f"int8 but for {', '.join(group.name for group in kept) or 'nothing'}"
        found = self.reference.copy()
        found[which] = self.evaluator.int8(self.thresholds, kept, which, what)
        return found

    def damage(self, group: Group) -> float:
        """Of quantising that group alone, weighted by the member's part in the vote."""
        found = next(quality for other, quality in self.ranking if other == group)
        return found.divergence_nats * self.evaluator.subject.weight


def _prepared(evaluator: Evaluator, reference: Answers, labels: NDArray[np.int64], watched: Indices) -> _State:
    by_method = evaluator.thresholds()

    def asked(method: str, in_float: Sequence[Group], what: str) -> Quality:
        found = evaluator.int8(by_method[method], in_float, watched, what)
        return quality(found, reference[watched], labels[watched])

    methods = {method: asked(method, (), f"int8 by {method}") for method in by_method}
    method = min(methods, key=lambda name: methods[name].divergence_nats)
    groups = node_groups(evaluator.model)
    ranking = [
        (group, asked(method, [other for other in groups if other != group], f"int8 in {group.name} alone"))
        for group in groups
    ]
    ranking.sort(key=lambda entry: -entry[1].divergence_nats)
    return _State(
        evaluator, method, methods, by_method[method], by_method[_NAIVE], ranking, reference, current=reference
    )


def _search(states: Sequence[_State], labels: NDArray[np.int64], limits: Limits, which: Indices) -> None:
    """Leave groups in float until the vote is within the limits on these images, and no more than it takes."""
    for state in states:
        state.current = state.answers(state.in_float, which)
    _leave_in_float(states, labels, limits, lambda state, groups: state.answers(groups, which))
    _quantise_again(states, labels, limits, lambda state, groups: state.answers(groups, which))


Asks = Callable[[_State, Sequence[Group]], Answers]


def _leave_in_float(states: Sequence[_State], labels: NDArray[np.int64], limits: Limits, ask: Asks) -> None:
    while not _acceptable(states, labels, limits):
        # A member that is astray itself is mended first; otherwise whoever does the most damage.
        astray = [state for state in states if not _member_acceptable(state, labels, limits)]
        candidates = [
            (state.damage(group), state, group)
            for state in astray or states
            for group, _ in state.ranking
            if group not in state.in_float
        ]
        if not candidates:
            return
        _, state, group = max(candidates, key=lambda candidate: candidate[0])
        state.in_float.append(group)
        state.current = ask(state, state.in_float)


def _quantise_again(states: Sequence[_State], labels: NDArray[np.int64], limits: Limits, ask: Asks) -> None:
    for state in states:
        for group in sorted(state.in_float, key=state.damage):
            before, rest = state.current, [other for other in state.in_float if other != group]
            state.current = ask(state, rest)
            if _acceptable(states, labels, limits):
                state.in_float = rest
            else:
                state.current = before


def _acceptable(states: Sequence[_State], labels: NDArray[np.int64], limits: Limits) -> bool:
    vote = _vote_quality(states, [state.current for state in states], labels)
    members = all(_member_acceptable(state, labels, limits) for state in states)
    kept = vote.within(limits.vote_flips, limits.vote_accuracy_drop)
    return members and kept and vote.expected_flips <= limits.vote_expected_flips


def _member_acceptable(state: _State, labels: NDArray[np.int64], limits: Limits) -> bool:
    found = quality(state.current, state.reference, labels)
    return found.within(limits.member_flips, limits.member_accuracy_drop)


def _vote_quality(states: Sequence[_State], found: Sequence[Answers], labels: NDArray[np.int64]) -> Quality:
    """Of a vote of the members' answers, beside that of their FP32 ones."""
    weights = [state.evaluator.subject.weight for state in states]
    reference = np.stack([state.reference for state in states])
    return quality(soft_vote(np.stack(found), weights), soft_vote(reference, weights), labels)


def _plan(state: _State, labels: NDArray[np.int64], naive: Answers, findings: Mapping[str, Any]) -> QuantisationPlan:
    subject = state.evaluator.subject
    height, width = subject.validation.shape[1:]
    ranking = [{"group": group.name, "nodes": len(group.nodes), **_figures(found)} for group, found in state.ranking]
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
            "methods": {name: _figures(found) for name, found in state.methods.items()},
            "ranking": ranking,
            "naive": _figures(quality(naive, state.reference, labels)),
            "searched": _figures(quality(state.current, state.reference, labels)),
        },
    )


def _figures(found: Quality) -> dict[str, Any]:
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(found).items()}
