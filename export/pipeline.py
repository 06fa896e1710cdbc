"""A whole export: members, one class order, one bundle."""

import functools
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, Protocol

from braintumor.cache import sweep_cache
from braintumor.errors import UsageError
from braintumor.export.bundle import check_destination, write_bundle
from braintumor.export.from_keras.archive import open_archive
from braintumor.export.graph.precision import Precision
from braintumor.export.int8.mixed import Candidate, choose
from braintumor.export.int8.plan_source import Quantisation, is_worth_it, plans_for
from braintumor.export.member import ExportedMember, MemberOptions, Target, VerificationImages, export_member
from braintumor.export.network import keras_is_installed
from braintumor.export.stages import Limit, Stages, one_by_one, overlapped, shared_limit
from braintumor.export.time_limit import run_within
from braintumor.export.verify.compare import MIN_IMAGES
from braintumor.models.catalog import shipped_weights
from braintumor.models.labels import CLASSES, class_permutation
from braintumor.models.vote_calibration import read_vote_calibration
from braintumor.runtime.bundle.load import Bundle
from braintumor.runtime.image.decode import SUFFIXES

__all__ = ["DATA_VARIABLE", "ExportOptions", "Report", "default_models", "export_bundle", "verification_images"]

DATA_VARIABLE: Final = "BRAINTUMOR_DATA"


_PHANTOMS: Final = f"or leave it and ${DATA_VARIABLE} out for generated phantoms"
_WORKING_MODELS: Final = Path("models")


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What is asked of an export.

    Attributes:
        members: In the order of the bundle, at least one, with different names.
        precision: Of all members; "mixed" is int8 for those that are faithful and measured to be faster by it on this
            machine, and `quantisation.rest` for the others.
        folder: Where the bundle goes.
        name: Of the bundle.
        images: For the verification.
        command: What was typed, for the bundle.
        quantisation: For int8 and mixed.
        temperature: Of the vote; None for what `bt-train calibrate` left beside the models for this very vote, or 1.
        timeout_s: How long one member may take, None for as long as it likes; a search for int8 is not counted.
        end: Ends the process with a message, for a member whose time is up inside a library that does not come back.
    """

    members: tuple[MemberOptions, ...]
    precision: Precision | Literal["mixed"]
    folder: Path
    name: str
    images: VerificationImages
    command: str
    quantisation: Quantisation = field(default_factory=Quantisation)
    temperature: float | None = None
    timeout_s: float | None = None
    end: Callable[[str], object] | None = None

    def __post_init__(self) -> None:
        """Check what cannot be checked member by member.

        Raises:
            UsageError: No member, two of one name, or a weight that is no weight.
        """
        names = [member.name for member in self.members]
        if not names:
            raise UsageError("no model to export", "name one")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(f"two models are called {', '.join(twice)}", "rename one of the files")
        for member in self.members:
            if not 0 < member.weight < float("inf"):
                raise UsageError(f"`vote` gives {member.name} the weight {member.weight}; must be > 0")


class Report(Protocol):
    """Who is told how an export goes on."""

    def step(self, what: str) -> None:
        """Something begins that may take a while."""
        ...

    def done(self, exported: ExportedMember) -> None:
        """A member is ready."""
        ...


class _NoReport:
    def step(self, what: str) -> None: ...

    def done(self, exported: ExportedMember) -> None: ...


def export_bundle(options: ExportOptions, report: Report | None = None) -> Bundle:
    """Export all members and write the bundle.

    Args:
        options: What is asked.
        report: Told how it goes on.

    Raises:
        ModelError: A file is not a classifier that can be exported.
        ParityError: A result does not answer what Keras answers.
        UsageError: The members do not know the same classes.
        OutputError: The bundle cannot be written.
    """
    sweep_cache()
    check_destination(options.folder)
    # A misspelt third file is told before the minutes that the first two take.
    known = [_limit(options, member)(functools.partial(_with_known_order, member)) for member in options.members]
    options = replace(options, members=tuple(known))
    classes = _bundle_classes(options.members)
    for member in options.members:
        class_permutation(member.classes, classes)
    report = report or _NoReport()
    exported = _exported(options, classes, report)
    return write_bundle(
        options.folder,
        name=options.name,
        classes=classes,
        members=[member.entry for member in exported],
        files={member.entry["name"]: member.model for member in exported},
        probes={member.entry["name"]: member.probe for member in exported},
        command=options.command,
        temperature=_temperature(options, exported),
    )


def _temperature(options: ExportOptions, exported: Sequence[ExportedMember]) -> float:
    if options.temperature is not None:
        return options.temperature
    fitted = read_vote_calibration(options.members[0].path.absolute().parent)
    sha256s = [member.entry["source"]["sha256"] for member in exported]
    weights = [member.weight for member in options.members]
    return fitted.temperature if fitted is not None and fitted.fits(sha256s, weights) else 1.0


def _limit(options: ExportOptions, member: MemberOptions) -> Limit:
    """Lets all the work on one member take as long as it may."""
    late = f"{member.path} was not exported within {options.timeout_s} seconds; give it more time with `timeout_s`"
    return shared_limit(options.timeout_s, lambda left_s, work: run_within(left_s, late, work, options.end))


def _exported(options: ExportOptions, classes: tuple[str, ...], report: Report) -> list[ExportedMember]:
    """Every member, verified, at what was asked for."""
    if options.precision not in {"int8", "mixed"}:
        target = Target(options.precision)  # type: ignore[arg-type]  # not "mixed"
        return _each([(member, target) for member in options.members], options, classes, report)
    asked = options.quantisation
    plans = plans_for(options.members, classes, asked, options.images, report.step)
    pairs = [(member, Target("int8", plan, asked.rest)) for member, plan in zip(options.members, plans, strict=True)]
    if options.precision == "int8":
        return _each(pairs, options, classes, report)
    faithful = [target if is_worth_it(plan) else None for (_, target), plan in zip(pairs, plans, strict=True)]
    return _chosen(list(zip(options.members, faithful, strict=True)), options, classes, report)


def _each(
    pairs: Sequence[tuple[MemberOptions, Target]],
    options: ExportOptions,
    classes: tuple[str, ...],
    report: Report,
    done: Callable[[ExportedMember], object] | None = None,
) -> list[ExportedMember]:
    """Export members, each to its target; two at a time, unless Keras answers, which takes the machine for itself."""

    def job(member: MemberOptions, target: Target) -> Callable[[Stages], ExportedMember]:
        limit = _limit(options, member)
        return lambda stages: export_member(member, classes, target, options.images, stages.within(limit))

    jobs = [job(member, target) for member, target in pairs]
    exported = []
    with closing(one_by_one(jobs) if keras_is_installed() else overlapped(jobs)) as results:
        for member, target in pairs:
            report.step(f"{member.name}: exporting at {target.precision}, up to some minutes for a large model")
            exported.append(next(results))
            (done or report.done)(exported[-1])
    return exported


def _chosen(
    pairs: Sequence[tuple[MemberOptions, Target | None]],
    options: ExportOptions,
    classes: tuple[str, ...],
    report: Report,
) -> list[ExportedMember]:
    """Every member at int8 where that was measured to be faster, else at the rest precision."""
    rest = Target(options.quantisation.rest)
    both = [(member, target) for member, int8 in pairs for target in (int8, rest) if target is not None]
    # Told when it is chosen.
    made = iter(_each(both, options, classes, report, done=lambda _: None))
    candidates = [Candidate(None if int8 is None else next(made), next(made)) for _, int8 in pairs]
    exported = []
    for candidate, choice in zip(candidates, choose(candidates, report.step), strict=True):
        taken = candidate.int8 if choice.int8 and candidate.int8 is not None else candidate.rest
        exported.append(replace(taken, entry={**taken.entry, "mixed": choice.to_dict()}))
        report.done(exported[-1])
    return exported


def _with_known_order(member: MemberOptions) -> MemberOptions:
    """The member with the class order that its file tells, where none was stated."""
    known = open_archive(member.path).classes
    return member if member.classes_stated or known is None else replace(member, classes=known, classes_stated=True)


def _bundle_classes(members: Sequence[MemberOptions]) -> tuple[str, ...]:
    """The usual order where the members know the usual classes; otherwise the first member's."""
    first = members[0].classes
    return CLASSES if set(first) == set(CLASSES) else first


def default_models() -> tuple[Path, ...]:
    """What is exported when no model is named: ./models/*.keras, else *.h5, else what comes with the package.

    Raises:
        UsageError: There are neither.
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


def verification_images(folder: Path | None) -> VerificationImages:
    """Images for the verification: `MIN_IMAGES` of the folder's, evenly spread over its sorted files, or phantoms.

    Args:
        folder: Searched recursively; None for $BRAINTUMOR_DATA where Keras is installed, else for phantoms.

    Raises:
        UsageError: There is no such folder, or it has too few images.
    """
    # Without Keras there are recorded answers at the most, and those are about phantoms.
    if folder is None and keras_is_installed() and (named := os.environ.get(DATA_VARIABLE)):
        folder = Path(named)
    if folder is None:
        return VerificationImages((), MIN_IMAGES)
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is not a folder",
            f"name one of at least {MIN_IMAGES} images with `images`, {_PHANTOMS}",
        )
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if len(found) < MIN_IMAGES:
        raise UsageError(
            f"{folder} holds {len(found)} images; the verification needs {MIN_IMAGES}",
            f"name another folder with `images`, {_PHANTOMS}",
        )
    spread = [found[index * len(found) // MIN_IMAGES] for index in range(MIN_IMAGES)]
    return VerificationImages(tuple(spread), MIN_IMAGES)
