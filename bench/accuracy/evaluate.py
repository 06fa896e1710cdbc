"""Bundles judged on labelled images: what each decides, beside what a reference decides."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.accuracy.comparison import compare_predictions
from braintumor.bench.accuracy.findings import lost_members
from braintumor.bench.accuracy.gate import EarlyExit, Evidence, judged
from braintumor.bench.accuracy.options import AccuracyOptions, Progress
from braintumor.bench.accuracy.predict import Answers, Who, ask, who
from braintumor.bench.accuracy.reference import KERAS, ReferenceOptions, References
from braintumor.bench.accuracy.result import BundleResult, EnsembleResult, MemberResult, WrongAnswer
from braintumor.bench.accuracy.robustness import PERTURBATIONS, RUNS, robustness, stability
from braintumor.bench.accuracy.scalings import Scaling, tried_scalings
from braintumor.bench.data.labelled import LabelledImages
from braintumor.bench.data.study import near_duplicate_free, of_the_study
from braintumor.bench.document import field_values
from braintumor.bench.metrics.classification import Scores, decided, label_name, scores
from braintumor.runtime.bundle.load import Bundle
from braintumor.runtime.engine_selection import ChoiceCallback
from braintumor.runtime.ensemble import Ensemble
from braintumor.runtime.vote_result import vote_results

__all__ = ["Judged", "Judgement", "judge", "unseen"]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """An ensemble and how it does on the images.

    Attributes:
        who: What it is.
        answers: What it said.
        result: The figures.
    """

    who: Who
    answers: Answers
    result: EnsembleResult


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """A bundle, judged.

    Attributes:
        bundle: What was judged.
        answers: What it said.
        result: All that is known of it.
    """

    bundle: Bundle
    answers: Answers
    result: BundleResult


def unseen(images: LabelledImages) -> tuple[int, ...] | None:
    """Indices of the study's test images of which training has seen no near-duplicate; None where there are none."""
    known = ((index, of_the_study(name)) for index, name in enumerate(images.names))
    free = near_duplicate_free()
    return tuple(index for index, image in known if image is not None and image.file in free) or None


def judge(
    bundles: Sequence[Bundle],
    images: LabelledImages,
    options: AccuracyOptions,
    progress: Progress,
    told: ChoiceCallback | None = None,
    kept: Callable[[Sequence[Judgement]], object] | None = None,
) -> list[Judgement]:
    """Judge bundles one after the other; the reference of several is asked once.

    Args:
        bundles: Verified.
        images: Whose classes are those of the bundles, in any order.
        options: What is asked.
        progress: ChoiceCallback how it goes on.
        told: Is told when "auto" had to measure.
        kept: Is given all judgements so far, whenever there is one more.

    Raises:
        UnavailableError: An engine or the reference is not usable here.
        InputError: An image cannot be read.
        UsageError: A bundle knows other classes.
    """
    references = References(
        ReferenceOptions(
            options.reference, options.reference_engine, options.models, options.threads, options.policy == "full"
        ),
        lambda ensemble: _judged(ensemble, images, options, progress),
        told,
    )
    found: list[Judgement] = []
    for bundle in bundles:
        found.append(_judgement(bundle, images, options, progress, references, told))
        if kept is not None:
            kept(found)
    return found


def _judgement(
    bundle: Bundle,
    images: LabelledImages,
    options: AccuracyOptions,
    progress: Progress,
    references: References[Judged],
    told: ChoiceCallback | None,
) -> Judgement:
    with Ensemble.load(
        bundle, engine=options.engine, device=options.device, threads=options.threads, told=told
    ) as ensemble:
        # Only now: engines that "auto" measures must have the machine for themselves.
        references.begin(bundle)
        deployed = _judged(ensemble, images, options, progress)
        progress.begin(f"{bundle.folder.name}: batches and runs", _stability_images(images))
        stable = stability(ensemble, images, progress.tick)
    early = _early_exit(bundle, images, options, progress, deployed) if options.policy == "early-exit" else None
    reference = references.of(bundle)
    comparison = None
    if reference is not None:
        pair = (reference.who, reference.answers), (deployed.who, deployed.answers)
        comparison = compare_predictions(*pair, images, unseen(images))
    members = deployed.result.scores_by_member
    evidence = Evidence(
        images.classes,
        deployed.result.scores,
        members,
        stable,
        comparison,
        early,
        sources={one.name: one.details["source"].get("classes", bundle.classes) for one in bundle.members},
        scalings=_scalings(bundle, members, images, options, progress),
    )
    result = BundleResult(
        **field_values(deployed.result),
        folder=str(bundle.folder),
        stability=stable,
        early_exit=early,
        reference=None if reference is None else reference.result,
        comparison=comparison,
        verdict=judged(evidence, options.margin_points),
    )
    return Judgement(bundle, deployed.answers, result)


def _scalings(
    bundle: Bundle,
    members: Mapping[str, Scores],
    images: LabelledImages,
    options: AccuracyOptions,
    progress: Progress,
) -> Mapping[str, Scaling | None] | None:
    """Other scalings of members that are right by chance only, where Keras can be asked."""
    lost = lost_members(members, images.classes)
    if options.reference != KERAS or not lost:
        return None
    progress.begin(f"{bundle.folder.name}: {', '.join(lost)} scaled otherwise", len(images))
    return tried_scalings(bundle, lost, images, options.models, progress.tick)


def _stability_images(images: LabelledImages) -> int:
    few = min(32, len(images))
    return (5 + RUNS) * few


def _judged(ensemble: Ensemble, images: LabelledImages, options: AccuracyOptions, progress: Progress) -> Judged:
    found = who(ensemble)
    start = time.perf_counter()
    progress.begin(f"{found.name} on {found.engine.name}: all images", len(images))
    answers = ask(ensemble, images, options.batch_size, progress.tick)
    seconds = time.perf_counter() - start
    robust = None
    if options.robustness:
        count = min(options.robustness, len(images))
        progress.begin(f"{found.name} on {found.engine.name}: changed images", count * (1 + len(PERTURBATIONS)))
        robust = robustness(ensemble, images, count, options.batch_size, progress.tick)
    result = EnsembleResult(
        name=found.name,
        sha256=found.sha256,
        precision=found.precision,
        engine=found.engine,
        scores=scores(answers.vote, images.labels, images.classes),
        near_duplicate_free=_leak_free_scores(answers, images),
        members=tuple(
            MemberResult(name, weight, scores(said, images.labels, images.classes))
            for name, weight, said in zip(found.members, found.weights, answers.members, strict=True)
        ),
        errors=tuple(_errors(answers.vote, images)),
        robustness=robust,
        inference_s=answers.inference_s,
        seconds=seconds,
    )
    return Judged(found, answers, result)


def _leak_free_scores(answers: Answers, images: LabelledImages) -> Scores | None:
    free = unseen(images)
    return None if free is None else scores(answers.vote[list(free)], images.labels[list(free)], images.classes)


def _errors(vote: NDArray[np.float32], images: LabelledImages) -> Iterator[WrongAnswer]:
    answers = decided(vote)
    for index in np.flatnonzero(answers != images.labels).tolist():
        label = label_name(answers[index], images.classes)
        yield WrongAnswer(
            index,
            images.names[index],
            images.classes[images.labels[index]],
            label,
            None if label is None else tuple(vote[index].tolist()),
        )


def _early_exit(
    bundle: Bundle, images: LabelledImages, options: AccuracyOptions, progress: Progress, full: Judged
) -> EarlyExit:
    """Ask again, on the engine that gave the full vote."""
    labels, run = [], 0
    inference_s = 0.0
    progress.begin(f"{bundle.folder.name}: early exit", len(images))
    with Ensemble.load(
        bundle, engine=full.result.engine.name, device=options.device, threads=options.threads, policy="early-exit"
    ) as ensemble:
        order = [images.classes.index(name) for name in bundle.classes]
        for batch in images.batches(set(ensemble.geometries), options.batch_size):
            start = time.perf_counter()
            answers = ensemble.member_predictions(batch)
            inference_s += time.perf_counter() - start
            run += int(answers.ran.sum())
            found = vote_results(answers, bundle.weights)
            labels += [order[one.label] for one in found]
            progress.tick(answers.ran.shape[1])
    differing = int((np.array(labels) != decided(full.answers.vote)).sum())
    count = len(images)
    return EarlyExit(count, len(bundle.members), run / count, differing, inference_s, full.answers.inference_s)
