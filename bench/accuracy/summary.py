"""The result of a run of `bt-bench accuracy`, and the verdict that is written into a bundle."""

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from braintumor.bench.accuracy.evaluate import BundleEvaluation, leak_free_indices
from braintumor.bench.accuracy.gate import NOT_ACCEPTED
from braintumor.bench.accuracy.options import AccuracyOptions
from braintumor.bench.accuracy.result import (
    AccuracyResult,
    AccuracySettings,
    BundleResult,
    EnsembleResult,
    ImagesSummary,
)
from braintumor.bench.data.labelled import LabelledImages
from braintumor.bench.data.study import find_study_image
from braintumor.bench.metrics.environment import environment
from braintumor.runtime.bundle.load import Bundle

__all__ = ["acceptance", "accuracy_result", "images_summary"]

_STUDY_PARTS: Final = ("test", "val", "train")


def accuracy_result(
    evaluations: Sequence[BundleEvaluation],
    images: ImagesSummary,
    options: AccuracyOptions,
    command: str,
    remaining: Sequence[Bundle] = (),
) -> AccuracyResult:
    """The result of a run, finished or not.

    Args:
        evaluations: One for each bundle, at least one.
        images: Summary of the images.
        options: Options of the run.
        command: The command line.
        remaining: Bundles that are not evaluated yet.
    """
    bundles = tuple(evaluation.result for evaluation in evaluations)
    # Bundles that were exported from the same models share their reference.
    references = {id(bundle.reference): bundle.reference for bundle in bundles if bundle.reference is not None}
    return AccuracyResult(
        command=command,
        environment=environment(),
        unfinished=f"before {', '.join(bundle.folder.name for bundle in remaining)}" if remaining else None,
        images=images,
        options=AccuracySettings(
            options.batch_size, options.policy, options.margin_points, options.robustness, options.threads
        ),
        accepted=not remaining and all(bundle.verdict.status not in NOT_ACCEPTED for bundle in bundles),
        inference_s=sum(map(_inference_s, (*bundles, *references.values()))),
        bundles=bundles,
    )


def _inference_s(result: EnsembleResult) -> float:
    """Seconds within the members, all trials included; without the reference, which several bundles may share."""
    parts_s = [result.inference_s, 0.0 if result.robustness is None else result.robustness.inference_s]
    if isinstance(result, BundleResult):
        parts_s += [result.stability.inference_s, 0.0 if result.early_exit is None else result.early_exit.inference_s]
    return sum(parts_s)


def images_summary(images: LabelledImages) -> ImagesSummary:
    """Number, hash and classes of the images; reads every image.

    Raises:
        InputError: An image cannot be read.
    """
    splits = Counter(image.split for name in images.names if (image := find_study_image(name)) is not None)
    leak_free = leak_free_indices(images)
    counts = np.bincount(images.labels, minlength=len(images.classes)).tolist()
    return ImagesSummary(
        source=str(images.source),
        count=len(images),
        sha256=images.sha256,
        classes=images.classes,
        supports=dict(zip(images.classes, counts, strict=True)),
        of_the_study={part: splits[part] for part in _STUDY_PARTS},
        near_duplicate_free=None if leak_free is None else len(leak_free),
        near_duplicate_free_reason=None if leak_free is not None else "none of them is a test image of the study",
    )


def acceptance(bundle: BundleResult, images: ImagesSummary, command: str) -> dict[str, Any] | None:
    """The verdict as it is written into the bundle; None without a reference.

    Args:
        bundle: The result of the bundle.
        images: Summary of the images.
        command: The command line.
    """
    if bundle.comparison is None or bundle.reference is None:
        return None
    return {
        "status": bundle.verdict.status,
        "reason": bundle.verdict.reason,
        "created_utc": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "command": command,
        "engine": bundle.engine.name,
        "engine_version": bundle.engine.version,
        "reference": bundle.reference.name,
        "reference_sha256": bundle.reference.sha256,
        "margin_points": bundle.verdict.margin_points,
        "images": bundle.scores.images,
        "images_sha256": images.sha256,
        "correct": bundle.scores.correct,
        "interval": list(bundle.scores.interval),
        "reference_correct": bundle.reference.scores.correct,
        "flips": bundle.comparison.flips.count,
    }
