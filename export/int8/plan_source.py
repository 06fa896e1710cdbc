"""Which plan does each member get: one that lies beside its `.keras` file, or a new one, searched on real images?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from braintumor.bench.data.labelled import LabelledImages
from braintumor.errors import UsageError
from braintumor.export.from_keras.archive import open_archive
from braintumor.export.graph.precision import Precision
from braintumor.export.graph.quantization_plan import (
    PLAN_SUFFIX,
    QuantisationPlan,
    plan_beside,
    require_structure,
    write_plan,
)
from braintumor.export.graph.structure import network_structure
from braintumor.export.int8.evaluator import Subject
from braintumor.export.int8.images import DEFAULT_COUNT, calibration_set, validation_set
from braintumor.export.int8.quality import Limits
from braintumor.export.int8.search import search_plans
from braintumor.export.member import ExportedMember, MemberOptions, Target, VerificationImages, export_member
from braintumor.files import sha256_of
from braintumor.runtime.image.geometry import Geometry

__all__ = ["Quantisation", "is_worth_it", "plans_for"]

# A plan that keeps so much of the arithmetic in float has nothing left to gain.
_MAX_FLOAT_PART: Final = 0.5

Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Quantisation:
    """What is asked of an int8 export.

    Attributes:
        calibrate: Training images: a folder with one folder a class, or a file of `bt-data prepare`. None takes the
            plans that lie beside the models.
        validate: Validation images, a folder likewise; None takes the validation part of the file.
        count: Calibration images.
        limits: What int8 may cost on the validation images.
        save_plans: Folder that gets the plans that were searched.
        rest: Precision of what stays float.
    """

    calibrate: Path | None = None
    validate: Path | None = None
    count: int = DEFAULT_COUNT
    limits: Limits = field(default_factory=Limits)
    save_plans: Path | None = None
    rest: Precision = "fp32"

    def __post_init__(self) -> None:
        """Check what belongs together.

        Raises:
            UsageError: Something of a search, and no images to search on.
        """
        searched = {"`validate`": self.validate, "`save_plans`": self.save_plans}
        given = [name for name, value in searched.items() if value is not None]
        if given and self.calibrate is None:
            raise UsageError(
                f"{' and '.join(given)} without `calibrate`: nothing is searched, plans beside the models are used",
                "name training images with `calibrate`, or leave it out",
            )


def plans_for(
    members: Sequence[MemberOptions],
    classes: tuple[str, ...],
    asked: Quantisation,
    images: VerificationImages,
    step: Step,
) -> tuple[QuantisationPlan, ...]:
    """A plan for every member.

    Plans that lie beside the models are all checked against the networks' structures before this returns, and so
    before anything is built by one of them.

    Raises:
        UsageError: A member has no plan and no images were named to search one; or the images will not do.
        ModelError: A plan is damaged, or made for another structure.
    """
    if asked.calibrate is None:
        found = [(member, _found(member)) for member in members]
        step("checking the quantisation plans")
        for member, plan in found:
            require_structure(plan, network_structure(open_archive(member.path), member.size), member.path)
        return tuple(plan for _, plan in found)
    calibration = calibration_set(asked.calibrate, classes, asked.count)
    validation = _validation(asked, classes)
    subjects = []
    for member in members:
        step(f"{member.name}: exporting at fp32")
        exported = export_member(member, classes, Target("fp32"), images)
        subjects.append(_subject(member, exported, calibration, validation))
    data = {
        "calibration": {"images": len(calibration), "sha256": calibration.sha256},
        "validation": {"images": len(validation), "sha256": validation.sha256},
        "members": [member.name for member in members],
    }
    plans = search_plans(subjects, validation.labels, data, asked.limits, step)
    if asked.save_plans is not None:
        asked.save_plans.mkdir(parents=True, exist_ok=True)
        for member, plan in zip(members, plans, strict=True):
            write_plan(plan, asked.save_plans / f"{member.path.stem}{PLAN_SUFFIX}")
    return plans


def is_worth_it(plan: QuantisationPlan) -> bool:
    """Whether a member is faithful with a good part of it in int8."""
    weighted = sum(int(entry["nodes"]) for entry in plan.findings["ranking"])
    return len(plan.float_nodes) <= _MAX_FLOAT_PART * weighted


def _found(member: MemberOptions) -> QuantisationPlan:
    plan = plan_beside(member.path, sha256_of(member.path))
    if plan is None or member.size not in {None, plan.size}:
        raise UsageError(
            f"{member.path} has no quantisation plan beside it ({member.path.stem}{PLAN_SUFFIX}, made for this very "
            "file)",
            "search one on real training images: name a folder of them with `calibrate` and another with `validate`, "
            "or a file of bt-data prepare with `calibrate`",
        )
    return plan


def _validation(asked: Quantisation, classes: tuple[str, ...]) -> LabelledImages:
    source = asked.validate or asked.calibrate
    if source is None or (asked.validate is None and source.is_dir()):
        raise UsageError(
            f"{source} calibrates; the search needs other images to validate with",
            "name a folder of them with `validate`",
        )
    return validation_set(source, classes)


def _subject(
    member: MemberOptions, exported: ExportedMember, calibration: LabelledImages, validation: LabelledImages
) -> Subject:
    entry = exported.entry
    geometry = Geometry(entry["height"], entry["width"], entry["resize"], entry["crop"])
    return Subject(
        name=member.name,
        source_sha256=exported.entry["source"]["sha256"],
        weight=member.weight,
        model=exported.model,
        model_sha256=sha256_of(exported.model),
        calibration=calibration.sized(geometry),
        validation=validation.sized(geometry),
    )
