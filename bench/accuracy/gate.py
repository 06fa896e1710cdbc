"""The verdict on a deployed bundle, accepted, refused or not shown, and the findings that decide it.

A bundle is accepted when its vote is SHOWN to be not worse than its reference's by more than a margin: the one-sided
95 % lower end of Tango's interval of the paired difference of accuracy lies above -margin. A difference that is not
"significant" shows nothing: with few images no difference is. With 703 images and a margin of 0.5 point, the
decisions must hardly differ at all.

A deployment of the same trained models must keep their decisions as well: the share of labels that differ may not
exceed the margin, whether they became better or worse. (Beside other models only the accuracy counts.)

The other findings are faults that a vote, or a reference with the same fault, can hide.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from braintumor.bench.accuracy.comparison import Comparison
from braintumor.bench.accuracy.findings import Finding, chance_findings, class_findings
from braintumor.bench.accuracy.robustness import Stability
from braintumor.bench.accuracy.scalings import Scaling
from braintumor.bench.metrics.classification import Scores
from braintumor.bench.metrics.intervals import CONFIDENCE, clopper_pearson_lower, images_needed, tango_interval
from braintumor.bench.metrics.paired import PairedMetrics
from braintumor.errors import UsageError
from braintumor.runtime.prediction import Policy

__all__ = ["DEFAULT_MARGIN_POINTS", "NOT_ACCEPTED", "Evidence", "PolicyResult", "Verdict", "decide_verdict"]

DEFAULT_MARGIN_POINTS: Final = 0.5
"""Accuracy that may be lost, in percentage points."""

Status = Literal["accepted", "refused", "not shown", "unjudged"]


NOT_ACCEPTED: Final[frozenset[Status]] = frozenset({"refused", "not shown"})
"""Verdicts that fail a run of `bt-bench`."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a bundle is accepted, and why.

    Attributes:
        status: "refused" when a finding did not pass; "not shown" when all passed but non-inferiority, which so few
            images cannot show; "unjudged" when all passed but there was no reference.
        margin_points: Accuracy that may be lost, in percentage points.
        confidence: Of the bound that decides.
        reason: The findings that decided it, in one line.
        findings: In the order of the checks.
    """

    status: Status
    margin_points: float
    confidence: float
    reason: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """A policy that leaves out members, beside the full vote.

    Attributes:
        images: Number of images.
        members: Number of members of the ensemble.
        members_run_mean: Mean over images of the number of members that ran.
        labels_differing: Images whose label is not that of the full vote.
        inference_s: Seconds within the members.
        full_inference_s: The same of the full vote.
        policy: "early-exit", which leaves out members that cannot change the label, or "cascade".
        risk: Share of labels that the bundle allows its cascade to change; 0 for early exit.
    """

    images: int
    members: int
    members_run_mean: float
    labels_differing: int
    inference_s: float
    full_inference_s: float
    policy: Policy = "early-exit"
    risk: float = 0.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """All measurements that a verdict is decided on.

    Attributes:
        classes: Names, in the order of the scores.
        vote: Scores of the ensemble's vote.
        members: Member → its scores.
        stability: Under other batches and runs.
        comparison: With the reference; None without one.
        policy: Early exit or a cascade, beside the full vote; None where all members run.
        sources: Member → the class names that were given at its export, in the order of its model's outputs.
        scalings: Member no better than chance → a better scaling, or None; None where none was tried.
    """

    classes: tuple[str, ...]
    vote: Scores
    members: Mapping[str, Scores]
    stability: Stability
    comparison: Comparison | None
    policy: PolicyResult | None = None
    sources: Mapping[str, Sequence[str]] = field(default_factory=dict)
    scalings: Mapping[str, Scaling | None] | None = None


_NON_INFERIORITY: Final = "non-inferiority"


def decide_verdict(evidence: Evidence, margin_points: float = DEFAULT_MARGIN_POINTS) -> Verdict:
    """Decide whether a bundle is accepted.

    Args:
        evidence: The measurements of the bundle.
        margin_points: Accuracy that may be lost, in percentage points; > 0 and < 100.

    Raises:
        UsageError: The margin is out of range.
    """
    if not 0 < margin_points < 100:  # noqa: PLR2004 - percent
        raise UsageError(f"margin_points is {margin_points}; must be > 0 and < 100", "choose another `margin_points`")
    findings = [
        _finite(evidence),
        *class_findings(evidence.members, evidence.classes, evidence.sources),
        *chance_findings(evidence.members, evidence.classes, evidence.scalings),
        *_stability_findings(evidence.stability),
    ]
    if evidence.policy is not None:
        findings.append(_policy_finding(evidence.policy))
    if evidence.comparison is not None:
        findings += _comparison_findings(evidence.comparison, margin_points / 100)
    status = _status(findings, evidence.comparison, margin_points / 100)
    return Verdict(status, margin_points, CONFIDENCE, _reason(findings), tuple(findings))


def _status(findings: Sequence[Finding], comparison: Comparison | None, margin: float) -> Status:
    failed = {finding.check for finding in findings if not finding.passed}
    if comparison is None:
        return "refused" if failed else "unjudged"
    if failed == {_NON_INFERIORITY} and comparison.pairs.images < images_needed(margin):
        return "not shown"
    return "refused" if failed else "accepted"


def _reason(findings: Sequence[Finding]) -> str:
    decisive = [finding.text for finding in findings if not finding.passed]
    decisive = decisive or [finding.text for finding in findings if finding.check == _NON_INFERIORITY]
    return "; ".join(decisive) or "there is no reference to judge by"


def _finite(evidence: Evidence) -> Finding:
    non_finite = {name: scores.non_finite for name, scores in evidence.members.items() if scores.non_finite}
    if not non_finite:
        return Finding("finite", True, "every member gives finite probabilities for every image")
    shown = ", ".join(f"{name} for {count} of {evidence.vote.images} images" for name, count in non_finite.items())
    return Finding("finite", False, f"no finite probabilities: {shown}; half precision may overflow: export at fp32")


def _stability_findings(stability: Stability) -> Iterator[Finding]:
    sizes = ", ".join(map(str, stability.batch_sizes))
    yield Finding(
        "batch invariance",
        not stability.labels_differing_batches,
        f"{stability.labels_differing_batches} of {stability.images} labels depend on the batch (sizes {sizes}; max "
        f"|Δp| {_shown(stability.max_abs_difference_batches)})",
    )
    yield Finding(
        "determinism",
        not stability.labels_differing_runs,
        f"{stability.labels_differing_runs} of {stability.images} labels differ between {stability.runs} runs (max "
        f"|Δp| {_shown(stability.max_abs_difference_runs)})",
    )


def _policy_finding(result: PolicyResult) -> Finding:
    """The finding on the labels that a policy changes.

    Early exit may change no label. A cascade fails when its share of changed labels is above its risk with 95 %
    confidence.
    """
    differing, images, risk = result.labels_differing, result.images, result.risk
    allowed = f"; its risk is {risk:.2%}" if risk else ""
    return Finding(
        result.policy.replace("-", " "),
        clopper_pearson_lower(differing, images, CONFIDENCE) <= risk,
        f"{differing} of {images} labels differ from the full vote with {result.members_run_mean:.2f} of "
        f"{result.members} members run{allowed}",
    )


def _comparison_findings(comparison: Comparison, margin: float) -> Iterator[Finding]:
    if comparison.missing_members:
        names = ", ".join(comparison.missing_members)
        yield Finding(
            "members", False, f"the reference has {names}, which the bundle lacks: export it with all members"
        )
    else:
        yield Finding("members", True, "the bundle has every member of the reference")
    for name, metrics in comparison.members.items():
        _, high = tango_interval(metrics.pairs, 2 * CONFIDENCE - 1)
        if high < -margin:
            yield Finding(
                "member accuracy",
                False,
                f"{name} is worse than its reference by {-metrics.accuracy_difference_points:.2f} points, by more "
                f"than {100 * margin:g} for sure, whatever the vote makes of it",
            )
    if comparison.same_originals:
        flips = comparison.flips
        yield Finding(
            "decisions",
            flips.share <= margin,
            f"{flips.count} of {flips.total} labels ({100 * flips.share:.2f} %) are not those of the same models in "
            f"the reference; allowed are {100 * margin:g} %",
        )
    yield _non_inferiority(comparison, margin)


def _non_inferiority(vote: PairedMetrics, margin: float) -> Finding:
    lower_points = vote.tango_lower_one_sided_points
    passed = lower_points > -100 * margin
    flips = f"{vote.flips.count} of {vote.flips.total} labels flip"
    moved = f"{flips}, {vote.accuracy_difference_points:+.2f} points of accuracy"
    text = f"{moved}; with 95 % confidence it loses less than {max(0.0, -lower_points):.2f} points"
    if passed:
        return Finding(_NON_INFERIORITY, True, f"{text}, within the margin of {100 * margin:g}")
    needed = images_needed(margin)
    if vote.pairs.images < needed:
        why = f"too few images: {100 * margin:g} points need at least {needed}, got {vote.pairs.images}"
    else:
        why = f"that it keeps the margin of {100 * margin:g} is not shown"
    return Finding(_NON_INFERIORITY, False, f"{text}: {why}")


def _shown(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.2g}"
