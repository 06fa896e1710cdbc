"""A run of `bt-bench accuracy` put together: its images, its result, and the verdict that goes into a bundle."""

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from braintumor.bench.accuracy.evaluate import Judgement, unseen
from braintumor.bench.accuracy.options import AccuracyOptions
from braintumor.bench.accuracy.result import (
    AccuracyResult,
    AccuracySettings,
    BundleResult,
    EnsembleResult,
    ImagesSummary,
)
from braintumor.bench.data.labelled import LabelledImages
from braintumor.bench.data.study import of_the_study
from braintumor.bench.metrics.environment import environment
from braintumor.runtime.bundle.load import Bundle

__all__ = ["acceptance", "accuracy_result", "images_summary"]

_STUDY_PARTS: Final = ("test", "val", "train")


def accuracy_result(
    judgements: Sequence[Judgement],
    images: ImagesSummary,
    options: AccuracyOptions,
    command: str,
    left: Sequence[Bundle] = (),
) -> AccuracyResult:
    """The whole result.

    Args:
        judgements: One a bundle, at least one.
        images: What all were asked about.
        options: What was asked.
        command: What was typed.
        left: Bundles that are still to be judged.
    """
    bundles = tuple(one.result for one in judgements)
    # Bundles of the same originals share their reference.
    references = {id(one.reference): one.reference for one in bundles if one.reference is not None}
    return AccuracyResult(
        command=command,
        environment=environment(),
        unfinished=f"before {', '.join(bundle.folder.name for bundle in left)}" if left else None,
        images=images,
        options=AccuracySettings(
            options.batch_size, options.policy, options.margin_points, options.robustness, options.threads
        ),
        accepted=not left and all(one.verdict.status != "refused" for one in bundles),
        inference_s=sum(map(_inference_s, (*bundles, *references.values()))),
        bundles=bundles,
    )


def _inference_s(one: EnsembleResult) -> float:
    """Seconds within the members, all trials included; not those of its reference, which may be that of others."""
    spent_s = [one.inference_s, 0.0 if one.robustness is None else one.robustness.inference_s]
    if isinstance(one, BundleResult):
        spent_s += [one.stability.inference_s, 0.0 if one.early_exit is None else one.early_exit.inference_s]
    return sum(spent_s)


def images_summary(images: LabelledImages) -> ImagesSummary:
    """What the answers are judged on; reads every image.

    Raises:
        InputError: One cannot be read.
    """
    known = Counter(found.split for name in images.names if (found := of_the_study(name)) is not None)
    free = unseen(images)
    counts = np.bincount(images.labels, minlength=len(images.classes)).tolist()
    return ImagesSummary(
        source=str(images.source),
        count=len(images),
        sha256=images.sha256,
        classes=images.classes,
        supports=dict(zip(images.classes, counts, strict=True)),
        of_the_study={part: known[part] for part in _STUDY_PARTS},
        near_duplicate_free=None if free is None else len(free),
        near_duplicate_free_reason=None if free is not None else "none of them is a test image of the study",
    )


def acceptance(one: BundleResult, images: ImagesSummary, command: str) -> dict[str, Any] | None:
    """What goes into the bundle; None where there was no reference to judge by, or a fault was found without one.

    Args:
        one: The bundle.
        images: What it was judged on.
        command: What was typed.
    """
    if one.comparison is None or one.reference is None:
        return None
    return {
        "status": one.verdict.status,
        "reason": one.verdict.reason,
        "created_utc": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "command": command,
        "engine": one.engine.name,
        "engine_version": one.engine.version,
        "reference": one.reference.name,
        "reference_sha256": one.reference.sha256,
        "margin_points": one.verdict.margin_points,
        "images": one.scores.images,
        "images_sha256": images.sha256,
        "correct": one.scores.correct,
        "interval": list(one.scores.interval),
        "reference_correct": one.reference.scores.correct,
        "flips": one.comparison.flips.count,
    }
