"""Evaluate bundles on labelled images: the labels that each gives, beside those of a reference."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.accuracy.comparison import compare_predictions
from braintumor.bench.accuracy.findings import lost_members
from braintumor.bench.accuracy.gate import Evidence, PolicyResult, decide_verdict
from braintumor.bench.accuracy.options import AccuracyOptions
from braintumor.bench.accuracy.predict import EnsembleInfo, Predictions, ensemble_info, predict
from braintumor.bench.accuracy.reference import KERAS, ReferenceOptions, References
from braintumor.bench.accuracy.result import BundleResult, EnsembleResult, MemberResult, WrongAnswer
from braintumor.bench.accuracy.robustness import (
    BATCH_SIZES,
    PERTURBATIONS,
    RUNS,
    STABILITY_IMAGES,
    robustness,
    stability,
)
from braintumor.bench.accuracy.scalings import Scaling, try_scalings
from braintumor.bench.data.labelled import LabelledImages
from braintumor.bench.data.study import find_study_image, near_duplicate_free
from braintumor.bench.document import field_values
from braintumor.bench.metrics.classification import Scores, label_name, predicted_labels, scores
from braintumor.progress import Progress
from braintumor.runtime.bundle.load import Bundle
from braintumor.runtime.engine_selection import ChoiceCallback
from braintumor.runtime.ensemble import Ensemble
from braintumor.runtime.vote_result import vote_results

__all__ = ["BundleEvaluation", "EnsembleEvaluation", "evaluate_bundles", "leak_free_indices"]


@dataclass(frozen=True, slots=True, eq=False)
class EnsembleEvaluation:
    """An ensemble and its predictions on the images.

    Attributes:
        info: Its name, engine and members.
        predictions: Of all images.
        result: Its scores.
    """

    info: EnsembleInfo
    predictions: Predictions
    result: EnsembleResult


@dataclass(frozen=True, slots=True, eq=False)
class BundleEvaluation:
    """A bundle and its predictions on the images.

    Attributes:
        bundle: The bundle.
        predictions: Of all images.
        result: Its scores, its comparison with the reference, and the verdict.
    """

    bundle: Bundle
    predictions: Predictions
    result: BundleResult


def leak_free_indices(images: LabelledImages) -> tuple[int, ...] | None:
    """Indices of the study's test images of which training has seen no near-duplicate; None if there are none."""
    study_images = ((index, find_study_image(name)) for index, name in enumerate(images.names))
    leak_free = near_duplicate_free()
    return tuple(index for index, image in study_images if image is not None and image.file in leak_free) or None


def evaluate_bundles(
    bundles: Sequence[Bundle],
    images: LabelledImages,
    options: AccuracyOptions,
    progress: Progress,
    on_choice: ChoiceCallback | None = None,
    on_result: Callable[[Sequence[BundleEvaluation]], object] | None = None,
) -> list[BundleEvaluation]:
    """Evaluate bundles one after the other; a reference that several share is evaluated once.

    Args:
        bundles: Verified bundles.
        images: Labelled images of the bundles' classes, in any order.
        options: Engine, reference, margin and so on.
        progress: Is called as images are done.
        on_choice: Is called when "auto" had to time the engines.
        on_result: Is called with all evaluations so far, after each bundle.

    Raises:
        UnavailableError: An engine or the reference is not usable here.
        InputError: An image cannot be read.
        UsageError: A bundle knows other classes.
    """
    references = References(
        ReferenceOptions(
            options.reference, options.reference_engine, options.models, options.threads, options.policy == "full"
        ),
        lambda ensemble: _evaluate_ensemble(ensemble, images, options, progress),
        on_choice,
    )
    evaluations: list[BundleEvaluation] = []
    for bundle in bundles:
        evaluations.append(_evaluate_bundle(bundle, images, options, progress, references, on_choice))
        if on_result is not None:
            on_result(evaluations)
    return evaluations


def _evaluate_bundle(
    bundle: Bundle,
    images: LabelledImages,
    options: AccuracyOptions,
    progress: Progress,
    references: References[EnsembleEvaluation],
    on_choice: ChoiceCallback | None,
) -> BundleEvaluation:
    with Ensemble.load(
        bundle, engine=options.engine, device=options.device, threads=options.threads, on_choice=on_choice
    ) as ensemble:
        # Not earlier: engines that "auto" times must have the machine to themselves.
        references.begin(bundle)
        deployed = _evaluate_ensemble(ensemble, images, options, progress)
        progress.begin(f"{bundle.folder.name}: batches and runs", _stability_images(images))
        measured_stability = stability(ensemble, images, progress.tick)
    policy = None if options.policy == "full" else _evaluate_policy(bundle, images, options, progress, deployed)
    reference = references.of(bundle)
    comparison = None
    if reference is not None:
        pair = (reference.info, reference.predictions), (deployed.info, deployed.predictions)
        comparison = compare_predictions(*pair, images, leak_free_indices(images))
    members = deployed.result.scores_by_member
    evidence = Evidence(
        images.classes,
        deployed.result.scores,
        members,
        measured_stability,
        comparison,
        policy,
        sources={member.name: member.details["source"].get("classes", bundle.classes) for member in bundle.members},
        scalings=_scalings(bundle, members, images, options, progress),
    )
    result = BundleResult(
        **field_values(deployed.result),
        folder=str(bundle.folder),
        stability=measured_stability,
        early_exit=policy,
        reference=None if reference is None else reference.result,
        comparison=comparison,
        verdict=decide_verdict(evidence, options.margin_points),
    )
    return BundleEvaluation(bundle, deployed.predictions, result)


def _scalings(
    bundle: Bundle,
    members: Mapping[str, Scores],
    images: LabelledImages,
    options: AccuracyOptions,
    progress: Progress,
) -> Mapping[str, Scaling | None] | None:
    """Better scalings of members that are no better than chance; None without Keras as the reference."""
    lost = lost_members(members, images.classes)
    if options.reference != KERAS or not lost:
        return None
    progress.begin(f"{bundle.folder.name}: {', '.join(lost)} scaled otherwise", len(images))
    return try_scalings(bundle, lost, images, options.models, progress.tick)


def _stability_images(images: LabelledImages) -> int:
    # A single image, then each larger batch size in two orders, then the runs.
    return (2 * len(BATCH_SIZES) - 1 + RUNS) * min(STABILITY_IMAGES, len(images))


def _evaluate_ensemble(
    ensemble: Ensemble, images: LabelledImages, options: AccuracyOptions, progress: Progress
) -> EnsembleEvaluation:
    info = ensemble_info(ensemble)
    start = time.perf_counter()
    progress.begin(f"{info.name} on {info.engine.name}: all images", len(images))
    predictions = predict(ensemble, images, options.batch_size, progress.tick)
    seconds = time.perf_counter() - start
    measured_robustness = None
    if options.robustness:
        count = min(options.robustness, len(images))
        progress.begin(f"{info.name} on {info.engine.name}: changed images", count * (1 + len(PERTURBATIONS)))
        measured_robustness = robustness(ensemble, images, count, options.batch_size, progress.tick)
    result = EnsembleResult(
        name=info.name,
        sha256=info.sha256,
        precision=info.precision,
        engine=info.engine,
        scores=scores(predictions.vote, images.labels, images.classes),
        near_duplicate_free=_leak_free_scores(predictions, images),
        members=tuple(
            MemberResult(name, weight, scores(probabilities, images.labels, images.classes))
            for name, weight, probabilities in zip(info.members, info.weights, predictions.members, strict=True)
        ),
        errors=tuple(_errors(predictions.vote, images)),
        robustness=measured_robustness,
        inference_s=predictions.inference_s,
        seconds=seconds,
    )
    return EnsembleEvaluation(info, predictions, result)


def _leak_free_scores(predictions: Predictions, images: LabelledImages) -> Scores | None:
    indices = leak_free_indices(images)
    if indices is None:
        return None
    rows = list(indices)
    return scores(predictions.vote[rows], images.labels[rows], images.classes)


def _errors(vote: NDArray[np.float32], images: LabelledImages) -> Iterator[WrongAnswer]:
    labels = predicted_labels(vote)
    for index in np.flatnonzero(labels != images.labels).tolist():
        label = label_name(labels[index], images.classes)
        yield WrongAnswer(
            index,
            images.names[index],
            images.classes[images.labels[index]],
            label,
            None if label is None else tuple(vote[index].tolist()),
        )


def _evaluate_policy(
    bundle: Bundle, images: LabelledImages, options: AccuracyOptions, progress: Progress, full: EnsembleEvaluation
) -> PolicyResult:
    """Predict again with the policy of the options, on the engine that gave the full vote."""
    labels, member_runs = [], 0
    inference_s = 0.0
    progress.begin(f"{bundle.folder.name}: {options.policy}", len(images))
    with Ensemble.load(
        bundle, engine=full.result.engine.name, device=options.device, threads=options.threads, policy=options.policy
    ) as ensemble:
        order = [images.classes.index(name) for name in bundle.classes]
        for batch in images.batches(set(ensemble.geometries), options.batch_size):
            start = time.perf_counter()
            predictions = ensemble.member_predictions(batch)
            inference_s += time.perf_counter() - start
            member_runs += int(predictions.ran.sum())
            labels += [order[vote.label] for vote in vote_results(predictions, bundle.weights)]
            progress.tick(predictions.ran.shape[1])
    differing = int((np.array(labels) != predicted_labels(full.predictions.vote)).sum())
    count = len(images)
    return PolicyResult(
        images=count,
        members=len(bundle.members),
        members_run_mean=member_runs / count,
        labels_differing=differing,
        inference_s=inference_s,
        full_inference_s=full.predictions.inference_s,
        policy=options.policy,
        risk=bundle.cascade.risk if bundle.cascade is not None and options.policy == "cascade" else 0.0,
    )
