"""The result of `bt-bench accuracy`; schema `braintumor.accuracy/1` (docs/bench-json.md)."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from braintumor import NOTICE
from braintumor.bench.accuracy.comparison import Comparison
from braintumor.bench.accuracy.gate import PolicyResult, Verdict
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
    """The scores of a single member.

    Attributes:
        name: Name in the bundle.
        weight: Weight in the vote.
        scores: On all images.
    """

    name: str
    weight: float
    scores: Scores


@dataclass(frozen=True, slots=True)
class WrongAnswer:
    """An image with a wrong label.

    Attributes:
        index: Of the image.
        name: File name of the image.
        truth: Its class.
        label: Label given by the vote; None if its probabilities are not finite.
        probabilities: Of the vote; None likewise.
    """

    index: int
    name: str
    truth: str
    label: str | None
    probabilities: tuple[float, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleResult:
    """An ensemble and its scores on the images.

    Attributes:
        name: Of the bundle's folder, or "keras" for the `.keras` files of a bundle.
        sha256: Of the bundle; None for the `.keras` files.
        precision: Of the members; "mixed" where they differ.
        engine: The engine and device that it runs on, read back after loading.
        scores: Of the vote.
        near_duplicate_free: Scores on the images of which training has seen no near-duplicate; None if not known.
        members: In the bundle's order.
        errors: Images with a wrong label.
        robustness: Under small changes; None if it was not measured.
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
        """Member → its scores."""
        return {member.name: member.scores for member in self.members}


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleResult(EnsembleResult):
    """A bundle, its scores, its reference and the verdict.

    Attributes:
        folder: Its folder.
        stability: Under other batches and runs.
        early_exit: Early exit or a cascade, beside the full vote; None where all members run.
        reference: Result of its reference; None without one.
        comparison: With the reference; None without one.
        verdict: Whether it is accepted, and why.
    """

    folder: str
    stability: Stability
    early_exit: PolicyResult | None
    reference: EnsembleResult | None
    comparison: Comparison | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class ImagesSummary:
    """Number, hash and classes of the images.

    Attributes:
        source: The folder or file.
        count: Number of images.
        sha256: Over labels and grey levels.
        classes: Names; the order of all confusions and probabilities.
        supports: Class → number of images.
        of_the_study: Part of the study → number of its images, known by their file names.
        near_duplicate_free: Number of images of which training has seen no near-duplicate; None if not known.
        near_duplicate_free_reason: Why it is not known; None if it is.
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
    """The options that change the figures; see `braintumor.bench.accuracy.options.AccuracyOptions`."""

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
        notice: Not for clinical use.
        command: The command line.
        created_utc: Time of the run, ISO 8601.
        environment: The machine and its libraries.
        unfinished: Where the run was cut short, in words; None if it was finished.
        images: Summary of the images.
        options: Options of the run.
        accepted: Whether the run was finished and no bundle is refused.
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
        """Check that all figures are of the classes of the images."""
        classes = self.images.classes
        if not self.bundles:
            raise ValueError("there must be at least one bundle")
        references = [bundle.reference for bundle in self.bundles if bundle.reference is not None]
        for ensemble in (*self.bundles, *references):
            if len(ensemble.scores.confusion) != len(classes):
                raise ValueError(f"the confusion of {ensemble.name} must be of {len(classes)} classes")
        for flip in (flip for bundle in self.bundles if bundle.comparison for flip in bundle.comparison.flipped):
            labels = {flip.truth, flip.label, flip.reference_label} - {None}
            lengths = {len(row) for row in (flip.probabilities, flip.reference_probabilities) if row is not None}
            if not labels <= set(classes) or not lengths <= {len(classes)}:
                raise ValueError(f"the flip of {flip.name} must be among {', '.join(classes)}")
