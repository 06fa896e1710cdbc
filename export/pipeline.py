"""A whole export, stage by stage: open the models, plan the quantisation, make the members, write the bundle."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from braintumor.cache import sweep_cache
from braintumor.errors import ModelError, UsageError
from braintumor.export.bundle import check_destination, write_bundle
from braintumor.export.cascade import choose_cascade, require_enough_images
from braintumor.export.cascade_plan import read_cascade, save_cascade
from braintumor.export.graph.cost import multiply_adds
from braintumor.export.int8.mixed import Candidate, choose_precisions
from braintumor.export.int8.plan_source import keeps_decisions, plans_for
from braintumor.export.member import ExportedMember, export_member
from braintumor.export.network import keras_is_installed
from braintumor.export.options import ExportOptions, MemberOptions, Target
from braintumor.export.overlap import Limit, StageSlots, one_by_one, overlapped, shared_limit
from braintumor.export.stages import ModelStages, OpenedModel, networks_folder, open_model
from braintumor.export.time_limit import run_within
from braintumor.export.verify.compare import MIN_IMAGES
from braintumor.export.verify.reference import VerificationImages, reference_source
from braintumor.models.catalog import shipped_weights
from braintumor.models.labels import CLASSES, class_permutation
from braintumor.models.vote_calibration import read_vote_calibration
from braintumor.progress import Progress
from braintumor.runtime.bundle.load import Bundle
from braintumor.runtime.cascade import Cascade
from braintumor.runtime.image.folder import NoteCallback, list_images

__all__ = [
    "DATA_VARIABLE",
    "ExportReporter",
    "VerificationImages",
    "default_models",
    "export_bundle",
    "export_models",
    "open_models",
    "verification_images",
]

DATA_VARIABLE: Final = "BRAINTUMOR_DATA"


_PHANTOMS: Final = f"or leave it and ${DATA_VARIABLE} out for generated phantoms"
_WORKING_MODELS: Final = Path("models")


class ExportReporter(Progress, Protocol):
    """Gets the progress of an export."""

    def done(self, exported: ExportedMember) -> None:
        """A member is ready."""
        ...


class _SilentReporter:
    def begin(self, title: str, total: int | None = None) -> None: ...

    def tick(self, count: int = 1) -> None: ...

    def done(self, exported: ExportedMember) -> None: ...


def export_bundle(options: ExportOptions, reporter: ExportReporter | None = None) -> Bundle:
    """Export all members and write the bundle.

    Args:
        options: Of the export.
        reporter: Gets its progress.

    Raises:
        ModelError: A file is not a classifier that can be exported.
        ParityError: A result does not answer what Keras answers.
        UsageError: The members do not know the same classes.
        OutputError: The bundle cannot be written.
    """
    with open_models(options) as models:
        return export_models(models, options, reporter)


@contextmanager
def open_models(options: ExportOptions) -> Iterator[list[ModelStages]]:
    """The first stage of an export: every model file, checked and hashed, with one class order for all.

    A misspelt third name is refused here, before minutes of work on the other two.

    Raises:
        As `export_bundle`.
    """
    sweep_cache()
    check_destination(options.folder)

    def opened(member: MemberOptions) -> OpenedModel:
        return _limit(options, member)(lambda: open_model(member))

    files = [opened(member) for member in options.members]
    classes = _bundle_classes(files)
    if options.cascade is not None:
        require_enough_images(options.cascade, classes, len(files))
    with networks_folder() as folder:
        yield [ModelStages(file, classes, options.images, folder) for file in files]


def export_models(
    models: Sequence[ModelStages], options: ExportOptions, reporter: ExportReporter | None = None
) -> Bundle:
    """The further stages of an export: plans, members, the bundle.

    Raises:
        As `export_bundle`.
    """
    reporter = reporter or _SilentReporter()
    members = _export_members(models, options, reporter)
    return write_bundle(
        options.folder,
        name=options.name,
        classes=models[0].classes,
        members=[member.entry for member in members],
        files={member.entry["name"]: member.model for member in members},
        probes={member.entry["name"]: member.probe for member in members},
        command=options.command,
        temperature=_temperature(options, members),
        cascade=lambda bundle: _cascade(bundle, options, reporter),
    )


def _cascade(bundle: Bundle, options: ExportOptions, reporter: ExportReporter) -> Cascade | None:
    """The cascade that the options ask for, else what was saved for this very vote, else none."""
    if options.cascade is None:
        return read_cascade(options.members[0].path.absolute().parent, bundle)
    reporter.begin(f"choosing a cascade of risk {options.cascade.risk:.2%} on {options.cascade.images}")
    costs = [multiply_adds(member.path) for member in bundle.members]
    chosen = choose_cascade(bundle, options.cascade, costs)
    if options.cascade.save_to is not None:
        save_cascade(options.cascade.save_to, bundle, chosen)
    return chosen


def _bundle_classes(models: Sequence[OpenedModel]) -> tuple[str, ...]:
    """The usual order where the members know the usual classes; otherwise the first member's.

    Raises:
        UsageError: The members do not know the same classes.
    """
    first = models[0].options.classes
    classes = CLASSES if set(first) == set(CLASSES) else first
    for model in models:
        class_permutation(model.options.classes, classes)
    return classes


def _export_members(
    models: Sequence[ModelStages], options: ExportOptions, reporter: ExportReporter
) -> list[ExportedMember]:
    """Every member, verified, at the precision of the export."""
    if options.precision not in {"int8", "mixed"}:
        target = Target(options.precision)  # type: ignore[arg-type]  # not "mixed"
        return _export_each([(model, target) for model in models], options, reporter, reporter.done)
    plans = plans_for(models, options.quantisation, reporter.begin)
    targets = [Target("int8", plan, options.quantisation.float_precision) for plan in plans]
    if options.precision == "int8":
        return _export_each(list(zip(models, targets, strict=True)), options, reporter, reporter.done)
    int8 = [target if keeps_decisions(plan) else None for target, plan in zip(targets, plans, strict=True)]
    return _export_fastest(list(zip(models, int8, strict=True)), options, reporter)


def _export_each(
    pairs: Sequence[tuple[ModelStages, Target]],
    options: ExportOptions,
    reporter: ExportReporter,
    done: Callable[[ExportedMember], object],
) -> list[ExportedMember]:
    """Export members, each to its target; two at a time, unless Keras answers, which takes the machine for itself."""

    def job(model: ModelStages, target: Target) -> Callable[[StageSlots], ExportedMember]:
        limit = _limit(options, model.options)
        return lambda slots: export_member(model, target, slots.within(limit))

    jobs = [job(model, target) for model, target in pairs]
    keras_answers = any(reference_source(model.archive, model.images) == "keras" for model, _ in pairs)
    members = []
    with closing(one_by_one(jobs) if keras_answers else overlapped(jobs)) as results:
        for model, target in pairs:
            name = model.options.name
            reporter.begin(f"{name}: exporting at {target.precision}, up to some minutes for a large model")
            members.append(next(results))
            done(members[-1])
    return members


def _export_fastest(
    pairs: Sequence[tuple[ModelStages, Target | None]], options: ExportOptions, reporter: ExportReporter
) -> list[ExportedMember]:
    """Every member at int8 where that was measured to be faster, else in floating point.

    Args:
        pairs: Each model with its int8 target; None where int8 does not keep its decisions.
        options: Of the export.
        reporter: Gets a member when its precision is chosen.
    """
    floating = Target(options.quantisation.float_precision)
    both = [(model, target) for model, int8 in pairs for target in (int8, floating) if target is not None]
    exported = iter(_export_each(both, options, reporter, lambda _: None))
    candidates = [Candidate(None if int8 is None else next(exported), next(exported)) for _, int8 in pairs]
    members = []
    for candidate, choice in zip(candidates, choose_precisions(candidates, reporter.begin), strict=True):
        member = candidate.int8 if choice.int8 and candidate.int8 is not None else candidate.floating
        members.append(replace(member, entry={**member.entry, "mixed": choice.to_dict()}))
        reporter.done(members[-1])
    return members


def _limit(options: ExportOptions, member: MemberOptions) -> Limit:
    """Lets all the work on one member take as long as it may."""
    late = ModelError(
        f"{member.path} was not exported within {options.timeout_s} seconds", "give it more time with `timeout_s`"
    )
    return shared_limit(options.timeout_s, lambda left_s, work: run_within(left_s, late, work, options.end))


def _temperature(options: ExportOptions, members: Sequence[ExportedMember]) -> float:
    """The one of the options, else what was fitted for this very vote, else 1."""
    if options.temperature is not None:
        return options.temperature
    fitted = read_vote_calibration(options.members[0].path.absolute().parent)
    sha256s = [member.entry["source"]["sha256"] for member in members]
    weights = [member.weight for member in options.members]
    return fitted.temperature if fitted is not None and fitted.fits(sha256s, weights) else 1.0


def default_models() -> tuple[Path, ...]:
    """The models of an export that names none: ./models/*.keras, else *.h5, else those that come with the package.

    Raises:
        UsageError: There are none.
    """
    for pattern in ("*.keras", "*.h5"):
        if own := sorted(_WORKING_MODELS.glob(pattern)):
            return tuple(own)
    if shipped := shipped_weights():
        return shipped
    raise UsageError(
        f"no model was named, {_WORKING_MODELS.absolute()} holds no .keras or .h5 file and this installation "
        "ships none",
        "name one: bt-export MODEL.keras",
    )


def verification_images(folder: Path | None, note: NoteCallback | None = None) -> VerificationImages:
    """Images for the verification: `MIN_IMAGES` of the folder's, evenly spread over its sorted files, or phantoms.

    Args:
        folder: Searched recursively; None for $BRAINTUMOR_DATA where Keras is installed, else for phantoms. A
            variable that names a file, as `bt-bench` takes it, is ignored.
        note: Called when hidden files are left out.

    Raises:
        UsageError: There is no such folder, or it has too few images.
    """
    # Without Keras there are recorded answers at the most, and those are about phantoms.
    if folder is None and keras_is_installed() and (named := os.environ.get(DATA_VARIABLE)):
        folder = None if Path(named).is_file() else Path(named)
    if folder is None:
        return VerificationImages((), MIN_IMAGES)
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is not a folder",
            f"name one of at least {MIN_IMAGES} images with `images`, {_PHANTOMS}",
        )
    images = list_images(folder, note)
    if len(images) < MIN_IMAGES:
        raise UsageError(
            f"{folder} holds {len(images)} images; the verification needs {MIN_IMAGES}",
            f"name another folder with `images`, {_PHANTOMS}",
        )
    spread = [images[index * len(images) // MIN_IMAGES] for index in range(MIN_IMAGES)]
    return VerificationImages(tuple(spread), MIN_IMAGES)
