"""What `bt-bench accuracy` finds, as values; schema `braintumor.accuracy/1` (docs/bench-json.md)."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from braintumor import NOTICE
from braintumor.bench.accuracy.comparison import Comparison
from braintumor.bench.accuracy.gate import EarlyExit, Verdict
from braintumor.bench.accuracy.robustness import Robustness, Stability
from braintumor.bench.document import Positive
from braintumor.bench.metrics.classification import Scores
from braintumor.bench.metrics.environment import Environment
from braintumor.runtime.engines.base import EngineInfo
from braintumor.runtime.prediction import Policy

__all__ = [
    "AccuracyResult",
    "AccuracySettings",
    "BundleResult",
    "EnsembleResult",
    "ImagesSummary",
    "MemberResult",
    "WrongAnswer",
]


@dataclass(frozen=True, slots=True)
class MemberResult:
    """A member on its own.

    Attributes:
        name: In the bundle.
        weight: In the vote.
        scores: On all images.
    """

    name: str
    weight: float
    scores: Scores


@dataclass(frozen=True, slots=True)
class WrongAnswer:
    """An image that is decided wrong.

    Attributes:
        index: Into the images.
        name: Of its file.
        truth: Its class.
        label: What was decided; None where there is no finite answer.
        probabilities: Of the vote; None likewise.
    """

    index: int
    name: str
    truth: str
    label: str | None
    probabilities: tuple[float, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleResult:
    """An ensemble and how it does on the images.

    Attributes:
        name: Of the bundle's folder, or "keras" for the originals of a bundle.
        sha256: Of the bundle; None for the originals.
        precision: Of the members; "mixed" where they differ.
        engine: What it really runs on.
        scores: Of the vote.
        near_duplicate_free: The same on the images of which training has seen no like; None where that is not known.
        members: In the bundle's order.
        errors: Images that the vote decides wrong.
        robustness: Under small changes; None where it was not asked for.
        inference_s: Seconds within the members, for all images.
        seconds: The same with decoding.
    """

    name: str
    sha256: str | None
    precision: str
    engine: EngineInfo
    scores: Scores
    near_duplicate_free: Scores | None
    members: tuple[MemberResult, ...]
    errors: tuple[WrongAnswer, ...]
    robustness: Robustness | None
    inference_s: Positive
    seconds: float

    @property
    def scores_by_member(self) -> dict[str, Scores]:
        """Name → scores."""
        return {one.name: one.scores for one in self.members}


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleResult(EnsembleResult):
    """All that is known of one bundle.

    Attributes:
        folder: Where it lies.
        stability: Under other batches and runs.
        early_exit: None where all members were asked.
        reference: How its reference does; None without one.
        comparison: One beside the other.
        verdict: What becomes of it.
    """

    folder: str
    stability: Stability
    early_exit: EarlyExit | None
    reference: EnsembleResult | None
    comparison: Comparison | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class ImagesSummary:
    """What the answers were judged on.

    Attributes:
        source: The folder or file.
        count: How many.
        sha256: Over labels and grey levels.
        classes: Names; the order of all confusions and probabilities.
        supports: Class → images.
        of_the_study: Part of the study → how many are known by name.
        near_duplicate_free: Of how many training has seen no like; None where that is not known.
        near_duplicate_free_reason: Why it is not known.
    """

    source: str
    count: int
    sha256: str
    classes: tuple[str, ...]
    supports: Mapping[str, int]
    of_the_study: Mapping[str, int]
    near_duplicate_free: int | None
    near_duplicate_free_reason: str | None


@dataclass(frozen=True, slots=True)
class AccuracySettings:
    """What was asked, as far as it moves the figures; see `braintumor.bench.accuracy.options.AccuracyOptions`."""

    batch_size: int
    policy: Policy
    margin_points: float
    robustness: int
    threads: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyResult:
    """One run of `bt-bench accuracy`.

    Attributes:
        schema: Of the file.
        notice: What it may be used for.
        command: What was typed.
        created_utc: When, ISO 8601.
        environment: The machine.
        unfinished: Where the run was cut short, in words; None for a whole one.
        images: What all were asked about.
        options: What was asked.
        accepted: Whether no bundle is refused, in a run that was not cut short.
        inference_s: Seconds within the members of all bundles and references, all trials included.
        bundles: At least one.
    """

    schema: Literal["braintumor.accuracy/1"] = "braintumor.accuracy/1"
    notice: str = NOTICE
    command: str
    created_utc: str = field(default_factory=lambda: dt.datetime.now(dt.UTC).isoformat(timespec="seconds"))
    environment: Environment
    unfinished: str | None
    images: ImagesSummary
    options: AccuracySettings
    accepted: bool
    inference_s: float
    bundles: tuple[BundleResult, ...]

    def __post_init__(self) -> None:
        """Refuse figures that are of other classes than the images."""
        classes = self.images.classes
        if not self.bundles:
            raise ValueError("there must be at least one bundle")
        for one in (*self.bundles, *(one.reference for one in self.bundles if one.reference is not None)):
            if len(one.scores.confusion) != len(classes):
                raise ValueError(f"the confusion of {one.name} must be of {len(classes)} classes")
        for flip in (flip for one in self.bundles if one.comparison for flip in one.comparison.flipped):
            labels = {flip.truth, flip.label, flip.reference_label} - {None}
            lengths = {len(row) for row in (flip.probabilities, flip.reference_probabilities) if row is not None}
            if not labels <= set(classes) or not lengths <= {len(classes)}:
                raise ValueError(f"the flip of {flip.name} must be among {', '.join(classes)}")
