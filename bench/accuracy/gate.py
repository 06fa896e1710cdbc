"""Accepted or refused: the verdict on a deployed bundle, and the findings that it rests on.

A bundle is accepted when its vote is SHOWN to be not worse than its reference's by more than a margin: the one-sided
95 % lower end of Tango's interval of the paired difference of accuracy lies above -margin. That no difference was
"significant" shows nothing: with few images nothing ever is. With 703 images and a margin of 0.5 point this takes
decisions that hardly differ at all.

A deployment of the same trained models must keep their decisions as well: the share of labels that differ may not
exceed the margin, whether they turned out better or worse. (Beside other models only the accuracy is judged.)

The other findings are faults that a vote, or a fitting reference, can hide.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from braintumor.bench.accuracy.comparison import Comparison
from braintumor.bench.accuracy.findings import Finding, chance_findings, class_findings
from braintumor.bench.accuracy.robustness import Stability
from braintumor.bench.accuracy.scalings import Scaling
from braintumor.bench.metrics.classification import Scores
from braintumor.bench.metrics.intervals import CONFIDENCE, images_needed, tango_interval
from braintumor.bench.metrics.paired import PairedMetrics
from braintumor.errors import UsageError

__all__ = ["DEFAULT_MARGIN_POINTS", "EarlyExit", "Evidence", "Verdict", "judged"]

DEFAULT_MARGIN_POINTS: Final = 0.5
"""How much accuracy may be lost, in points."""

Status = Literal["accepted", "refused", "unjudged"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a bundle.

    Attributes:
        status: "refused" when a finding did not pass; "unjudged" when all passed but there was no reference.
        margin_points: How much accuracy might be lost, in points.
        confidence: Of the bound that decides.
        reason: The findings that decided it, in one line.
        findings: In the order in which they were looked at.
    """

    status: Status
    margin_points: float
    confidence: float
    reason: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class EarlyExit:
    """An ensemble that leaves out the members that cannot change the label.

    Attributes:
        images: How many were asked about.
        members: In the ensemble.
        members_run_mean: Members that ran, on the mean over images.
        labels_differing: Images whose label is not that of the full vote.
        inference_s: Seconds within the members.
        full_inference_s: The same of the full vote.
    """

    images: int
    members: int
    members_run_mean: float
    labels_differing: int
    inference_s: float
    full_inference_s: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a verdict is made of.

    Attributes:
        classes: Names, in the order of the scores.
        vote: Of the ensemble.
        members: By name.
        stability: Under other batches and runs.
        comparison: With the reference; None without one.
        early_exit: None where all members run.
        sources: By member, the class names that were given at its export, in the order of its model's outputs.
        scalings: By member that is lost, what other scaling suits it; None where none was tried.
    """

    classes: tuple[str, ...]
    vote: Scores
    members: Mapping[str, Scores]
    stability: Stability
    comparison: Comparison | None
    early_exit: EarlyExit | None = None
    sources: Mapping[str, Sequence[str]] = field(default_factory=dict)
    scalings: Mapping[str, Scaling | None] | None = None


_NON_INFERIORITY: Final = "non-inferiority"


def judged(evidence: Evidence, margin_points: float = DEFAULT_MARGIN_POINTS) -> Verdict:
    """Judge.

    Args:
        evidence: All of one bundle.
        margin_points: How much accuracy may be lost, in points, above 0 and below 100.

    Raises:
        UsageError: A margin that is none.
    """
    if not 0 < margin_points < 100:  # noqa: PLR2004 - percent
        raise UsageError(f"a margin of {margin_points} points was asked for; allowed is above 0 and below 100")
    findings = [
        _finite(evidence),
        *class_findings(evidence.members, evidence.classes, evidence.sources),
        *chance_findings(evidence.members, evidence.classes, evidence.scalings),
        *_stable(evidence.stability),
    ]
    if evidence.early_exit is not None:
        findings.append(_same_labels(evidence.early_exit))
    if evidence.comparison is not None:
        findings += _against(evidence.comparison, margin_points / 100)
    passed = all(one.passed for one in findings)
    status: Status = "refused" if not passed else "unjudged" if evidence.comparison is None else "accepted"
    return Verdict(status, margin_points, CONFIDENCE, _reason(findings), tuple(findings))


def _reason(findings: Sequence[Finding]) -> str:
    decisive = [one.text for one in findings if not one.passed]
    decisive = decisive or [one.text for one in findings if one.check == _NON_INFERIORITY]
    return "; ".join(decisive) or "there is no reference to judge by"


def _finite(evidence: Evidence) -> Finding:
    odd = {name: one.unanswered for name, one in evidence.members.items() if one.unanswered}
    if not odd:
        return Finding("finite", True, "every member gives finite probabilities for every image")
    shown = ", ".join(f"{name} for {count} of {evidence.vote.images} images" for name, count in odd.items())
    return Finding("finite", False, f"no finite probabilities: {shown}; half precision may overflow: export at fp32")


def _stable(found: Stability) -> Iterator[Finding]:
    sizes = ", ".join(map(str, found.batch_sizes))
    yield Finding(
        "batch invariance",
        not found.labels_differing_batches,
        f"{found.labels_differing_batches} of {found.images} labels depend on the batch (sizes {sizes}; max |Δp| "
        f"{_shown(found.max_abs_difference_batches)})",
    )
    yield Finding(
        "determinism",
        not found.labels_differing_runs,
        f"{found.labels_differing_runs} of {found.images} labels differ between {found.runs} runs (max |Δp| "
        f"{_shown(found.max_abs_difference_runs)})",
    )


def _same_labels(found: EarlyExit) -> Finding:
    return Finding(
        "early exit",
        not found.labels_differing,
        f"{found.labels_differing} of {found.images} labels differ from the full vote with "
        f"{found.members_run_mean:.2f} of {found.members} members run",
    )


def _against(comparison: Comparison, margin: float) -> Iterator[Finding]:
    if comparison.missing_members:
        names = ", ".join(comparison.missing_members)
        yield Finding(
            "members", False, f"the reference has {names}, which the bundle lacks: export it with all members"
        )
    else:
        yield Finding("members", True, "the bundle has every member of the reference")
    for name, one in comparison.members.items():
        _, high = tango_interval(one.pairs, 2 * CONFIDENCE - 1)
        if high < -margin:
            yield Finding(
                "member accuracy",
                False,
                f"{name} is worse than its reference by {-one.accuracy_difference_points:.2f} points, by more than "
                f"{100 * margin:g} for sure, whatever the vote makes of it",
            )
    if comparison.same_originals:
        flips = comparison.flips
        yield Finding(
            "decisions",
            flips.share <= margin,
            f"{flips.count} of {flips.total} labels ({100 * flips.share:.2f} %) are not those of the same models in "
            f"the reference; allowed are {100 * margin:g} %",
        )
    yield _not_worse(comparison, margin)


def _not_worse(vote: PairedMetrics, margin: float) -> Finding:
    lower_points = vote.tango_lower_one_sided_points
    passed = lower_points > -100 * margin
    flips = f"{vote.flips.count} of {vote.flips.total} labels flip"
    moved = f"{flips}, {vote.accuracy_difference_points:+.2f} points of accuracy"
    text = f"{moved}; with 95 % confidence it loses less than {max(0.0, -lower_points):.2f} points"
    if passed:
        return Finding(_NON_INFERIORITY, True, f"{text}, within the margin of {100 * margin:g}")
    needed = images_needed(margin)
    if vote.pairs.images < needed:
        why = f"{vote.pairs.images} images cannot show a margin of {100 * margin:g}: at least {needed} are needed"
    else:
        why = f"that it keeps the margin of {100 * margin:g} is not shown"
    return Finding(_NON_INFERIORITY, False, f"{text}: {why}")


def _shown(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.2g}"
