"""Which groups of nodes must stay in float so that the VOTE keeps its decisions? Found on validation images.

Per member: thresholds by every method, of which the one closest to FP32 is kept; then each group is quantised
alone and ranked by the damage that it does. Then at the level of the vote: everything is quantised; while the
ensemble is not within the limits, the most damaging group that is still int8 goes back to float; at the end,
groups that turned out not to be needed are quantised again. Damage is the mean Kullback-Leibler divergence of a
member's int8 answers from its FP32 answers, in nats, times its share in the vote.

Every evaluation is kept in the cache, so a search that was interrupted goes on where it was.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from braintumor.export.calibration import activation_thresholds
from braintumor.export.groups import Group, node_groups
from braintumor.export.inference import answers
from braintumor.export.plan import QuantisationPlan, rounded_thresholds
from braintumor.export.quantize import quantized
from braintumor.runtime.cache import cached, content_key
from braintumor.runtime.vote import soft_vote

__all__ = ["Limits", "Quality", "Step", "Subject", "quality", "search_plans"]

_CACHE_KIND: Final = "int8-answers"
_RECIPE: Final = 1
_TINY: Final = 1e-9
# The ranking needs an order, not a figure: every fourth validation image gives it.
_RANKING_STRIDE: Final = 4

Answers = NDArray[np.float32]
Step = Callable[[str], None]
"""Told what is being evaluated."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What int8 may cost, on validation images.

    Attributes:
        vote_flips: Part of the images whose label in the vote may change, 0..1.
        vote_accuracy_drop: By how much the vote's accuracy may fall, 0..1.
        member_flips: Part of the images whose label may change in one member, 0..1: a vote must not hide a member
            that has gone astray.
        member_accuracy_drop: By how much a member's accuracy may fall, 0..1.
    """

    vote_flips: float = 0.005
    vote_accuracy_drop: float = 0.0015
    member_flips: float = 0.02
    member_accuracy_drop: float = 0.01


@dataclass(frozen=True, slots=True)
class Quality:
    """How a quantised model, or vote, answers beside its FP32 original.

    Attributes:
        images: How many were asked about.
        accuracy: Part that is right, 0..1.
        accuracy_fp32: The original's.
        flips: Images whose label differs from the original's.
        divergence_nats: Mean KL(original, quantised).
        max_abs_difference: max |Δp|, 0..1.
    """

    images: int
    accuracy: float
    accuracy_fp32: float
    flips: int
    divergence_nats: float
    max_abs_difference: float

    def within(self, flips: float, drop: float) -> bool:
        """Not more than these parts of the images flipped, and of the accuracy lost."""
        lost = self.accuracy_fp32 - self.accuracy
        return self.flips <= flips * self.images and lost <= drop + _TINY


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A member whose plan is searched.

    Attributes:
        name: Of the member.
        source_sha256: Of its `.keras` file.
        weight: In the vote.
        model: Its framed FP32 model, a file.
        model_sha256: Of that file.
        calibration: uint8 [n, H, W], training images.
        validation: uint8 [m, H, W].
    """

    name: str
    source_sha256: str
    weight: float
    model: Path
    model_sha256: str
    calibration: NDArray[np.uint8]
    validation: NDArray[np.uint8]


def quality(found: Answers, reference: Answers, labels: NDArray[np.int64]) -> Quality:
    """Compare float32 [n, classes] answers with a reference's, given the truth int64 [n]."""
    p, q = reference.astype(np.float64) + _TINY, found.astype(np.float64) + _TINY
    return Quality(
        images=len(labels),
        accuracy=float((found.argmax(axis=1) == labels).mean()),
        accuracy_fp32=float((reference.argmax(axis=1) == labels).mean()),
        flips=int((found.argmax(axis=1) != reference.argmax(axis=1)).sum()),
        divergence_nats=float((p * np.log(p / q)).sum(axis=1).mean()),
        max_abs_difference=float(np.abs(p - q).max()),
    )


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
    states = [_prepared(subject, labels, step) for subject in subjects]
    _leave_in_float(states, labels, limits, step)
    _quantise_again(states, labels, limits, step)
    vote = _vote_quality(states, labels)
    return tuple(_plan(state, labels, vote, data, limits) for state in states)


@dataclass(slots=True, eq=False)
class _State:
    """A member on its way."""

    subject: Subject
    model: onnx.ModelProto
    method: str
    methods: Mapping[str, Quality]
    thresholds: Mapping[str, float]
    ranking: Sequence[tuple[Group, Quality]]
    reference: Answers
    current: Answers
    in_float: list[Group] = field(default_factory=list)

    def answers(self, groups: Iterable[Group], step: Step) -> Answers:
        """With these groups in float."""
        kept = sorted(groups, key=lambda group: group.name)
        step(f"{self.subject.name}: int8 but for {', '.join(group.name for group in kept) or 'nothing'}")
        return _answers(self.subject, self.model, self.thresholds, kept, self.subject.validation)

    def damage(self, group: Group) -> float:
        """Of quantising that group alone, weighted by the member's part in the vote."""
        found = next(quality for other, quality in self.ranking if other == group)
        return found.divergence_nats * self.subject.weight


def _prepared(subject: Subject, labels: NDArray[np.int64], step: Step) -> _State:
    model = onnx.load(str(subject.model))
    by_method = _thresholds(subject, model, step)
    step(f"{subject.name}: FP32")
    reference = _cached_answers(subject, {"fp32": True}, subject.validation, lambda: model)
    found, methods = {}, {}
    for method, thresholds in by_method.items():
        step(f"{subject.name}: int8 by {method}")
        found[method] = _answers(subject, model, thresholds, (), subject.validation)
        methods[method] = quality(found[method], reference, labels)
    method = min(methods, key=lambda name: methods[name].divergence_nats)
    few = slice(None, None, _RANKING_STRIDE)
    groups = node_groups(model)
    ranking = []
    for group in groups:
        step(f"{subject.name}: int8 in {group.name} alone")
        others = [other for other in groups if other != group]
        alone = _answers(subject, model, by_method[method], others, subject.validation[few])
        ranking.append((group, quality(alone, reference[few], labels[few])))
    ranking.sort(key=lambda entry: -entry[1].divergence_nats)
    return _State(subject, model, method, methods, by_method[method], ranking, reference, found[method])


def _leave_in_float(states: Sequence[_State], labels: NDArray[np.int64], limits: Limits, step: Step) -> None:
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
        state.current = state.answers(state.in_float, step)


def _quantise_again(states: Sequence[_State], labels: NDArray[np.int64], limits: Limits, step: Step) -> None:
    for state in states:
        for group in sorted(state.in_float, key=state.damage):
            before, rest = state.current, [other for other in state.in_float if other != group]
            state.current = state.answers(rest, step)
            if _acceptable(states, labels, limits):
                state.in_float = rest
            else:
                state.current = before


def _acceptable(states: Sequence[_State], labels: NDArray[np.int64], limits: Limits) -> bool:
    vote = _vote_quality(states, labels)
    members = all(_member_acceptable(state, labels, limits) for state in states)
    return members and vote.within(limits.vote_flips, limits.vote_accuracy_drop)


def _member_acceptable(state: _State, labels: NDArray[np.int64], limits: Limits) -> bool:
    found = quality(state.current, state.reference, labels)
    return found.within(limits.member_flips, limits.member_accuracy_drop)


def _vote_quality(states: Sequence[_State], labels: NDArray[np.int64]) -> Quality:
    weights = [state.subject.weight for state in states]
    found = soft_vote(np.stack([state.current for state in states]), weights)
    return quality(found, soft_vote(np.stack([state.reference for state in states]), weights), labels)


def _thresholds(subject: Subject, model: onnx.ModelProto, step: Step) -> Mapping[str, Mapping[str, float]]:
    step(f"{subject.name}: ranges of activations on {len(subject.calibration)} training images")
    images = _digest(subject.calibration)

    def build(folder: Path) -> None:
        found = activation_thresholds(model, subject.calibration)
        names = sorted(next(iter(found.values())))
        table = np.array([[found[method][name] for name in names] for method in found])
        np.savez(folder / "thresholds.npz", methods=list(found), names=names, thresholds=table)

    key = content_key({"recipe": _RECIPE, "model": subject.model_sha256, "calibration": images})
    with np.load(cached("int8-thresholds", key, build) / "thresholds.npz") as stored:
        names = [str(name) for name in stored["names"]]
        return {
            str(method): rounded_thresholds(dict(zip(names, row.tolist(), strict=True)))
            for method, row in zip(stored["methods"], stored["thresholds"], strict=True)
        }


def _answers(
    subject: Subject,
    model: onnx.ModelProto,
    thresholds: Mapping[str, float],
    in_float: Sequence[Group],
    images: NDArray[np.uint8],
) -> Answers:
    nodes = sorted(name for group in in_float for name in group.nodes)
    made_of = {"thresholds": sorted(thresholds.items()), "float": nodes}
    return _cached_answers(subject, made_of, images, lambda: quantized(model, thresholds, nodes))


def _cached_answers(
    subject: Subject, made_of: Mapping[str, object], images: NDArray[np.uint8], make: Callable[[], onnx.ModelProto]
) -> Answers:
    asked = _digest(images)
    key = content_key({"recipe": _RECIPE, "model": subject.model_sha256, "images": asked, **made_of})

    def build(folder: Path) -> None:
        np.save(folder / "answers.npy", answers(make().SerializeToString(), images))

    found: Answers = np.load(cached(_CACHE_KIND, key, build) / "answers.npy")
    return found


def _digest(images: NDArray[np.uint8]) -> str:
    return hashlib.sha256(images.tobytes()).hexdigest()


def _plan(
    state: _State, labels: NDArray[np.int64], vote: Quality, data: Mapping[str, Any], limits: Limits
) -> QuantisationPlan:
    findings = {
        **data,
        "limits": asdict(limits),
        "methods": {name: _figures(found) for name, found in state.methods.items()},
        "ranking": [
            {"group": group.name, "nodes": len(group.nodes), **_figures(found)} for group, found in state.ranking
        ],
        "naive": _figures(state.methods["minmax"]),
        "searched": _figures(quality(state.current, state.reference, labels)),
        "vote": _figures(vote),
    }
    return QuantisationPlan(
        source_sha256=state.subject.source_sha256,
        size=(state.subject.validation.shape[1], state.subject.validation.shape[2]),
        method=state.method,
        thresholds=state.thresholds,
        float_nodes=tuple(sorted(name for group in state.in_float for name in group.nodes)),
        float_groups=tuple(group.name for group in state.in_float),
        findings=findings,
    )


def _figures(found: Quality) -> dict[str, Any]:
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(found).items()}
