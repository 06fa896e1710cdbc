"""The plan stage of an int8 export: the plan beside each model file, or new ones, searched on real images."""

from collections.abc import Sequence
from typing import Final

from braintumor.bench.data.labelled import LabelledImages
from braintumor.errors import UsageError
from braintumor.export.graph.quantization_plan import (
    PLAN_SUFFIX,
    QuantisationPlan,
    plan_beside,
    require_structure,
    write_plan,
)
from braintumor.export.int8.evaluator import StepCallback, Subject
from braintumor.export.int8.images import calibration_set, validation_set
from braintumor.export.int8.search import search_plans
from braintumor.export.member import export_member
from braintumor.export.options import QuantisationOptions, Target
from braintumor.export.stages import ModelStages
from braintumor.files import sha256_of
from braintumor.runtime.image.geometry import Geometry

__all__ = ["keeps_decisions", "plans_for"]

# A plan that keeps so much of the arithmetic in float has nothing left to gain.
_MAX_FLOAT_PART: Final = 0.5


def plans_for(
    models: Sequence[ModelStages], options: QuantisationOptions, step: StepCallback
) -> tuple[QuantisationPlan, ...]:
    """A plan for every model of an export.

    Plans that lie beside the models are all checked against the networks' structures before this returns, and so
    before anything is built by one of them.

    Args:
        models: At least one, in the order of the bundle.
        options: Of the quantisation.
        step: Gets a description of what is done next.

    Raises:
        UsageError: A model has no plan and no images were named to search one; or the images will not do.
        ModelError: A plan is damaged, or made for another structure.
    """
    if options.calibrate is not None:
        return _searched_plans(models, options, step)
    plans = [_plan_beside(model) for model in models]
    step("checking the quantisation plans")
    for model, plan in zip(models, plans, strict=True):
        require_structure(plan, model.structure, model.options.path)
    return tuple(plans)


def keeps_decisions(plan: QuantisationPlan) -> bool:
    """Whether a model keeps its decisions with a good part of it in int8."""
    weighted = sum(int(entry["nodes"]) for entry in plan.findings["ranking"])
    return len(plan.float_nodes) <= _MAX_FLOAT_PART * weighted


def _plan_beside(model: ModelStages) -> QuantisationPlan:
    path = model.options.path
    plan = plan_beside(path, model.archive.sha256)
    if plan is None or model.options.size not in {None, plan.size}:
        raise UsageError(
            f"{path} has no quantisation plan beside it ({path.stem}{PLAN_SUFFIX}, made for this very file)",
            "search one on real training images: name a folder of them with `calibrate` and another with `validate`, "
            "or a file of bt-data prepare with `calibrate`",
        )
    return plan


def _searched_plans(
    models: Sequence[ModelStages], options: QuantisationOptions, step: StepCallback
) -> tuple[QuantisationPlan, ...]:
    assert options.calibrate is not None  # noqa: S101 - narrows the type
    classes = models[0].classes
    calibration = calibration_set(options.calibrate, classes, options.count)
    validation = _validation(options, classes)
    subjects = []
    for model in models:
        step(f"{model.options.name}: exporting at fp32")
        subjects.append(_subject(model, calibration, validation))
    data = {
        "calibration": {"images": len(calibration), "sha256": calibration.sha256},
        "validation": {"images": len(validation), "sha256": validation.sha256},
        "members": [model.options.name for model in models],
    }
    plans = search_plans(subjects, validation.labels, data, options.limits, step)
    if options.save_plans is not None:
        options.save_plans.mkdir(parents=True, exist_ok=True)
        for model, plan in zip(models, plans, strict=True):
            write_plan(plan, options.save_plans / f"{model.options.path.stem}{PLAN_SUFFIX}")
    return plans


def _validation(options: QuantisationOptions, classes: tuple[str, ...]) -> LabelledImages:
    source = options.validate or options.calibrate
    if source is None or (options.validate is None and source.is_dir()):
        raise UsageError(
            f"{source} calibrates; the search needs other images to validate with",
            "name a folder of them with `validate`",
        )
    return validation_set(source, classes)


def _subject(model: ModelStages, calibration: LabelledImages, validation: LabelledImages) -> Subject:
    exported = export_member(model, Target("fp32"))
    entry = exported.entry
    geometry = Geometry(entry["height"], entry["width"], entry["resize"], entry["crop"])
    return Subject(
        name=model.options.name,
        source_sha256=model.archive.sha256,
        weight=model.options.weight,
        model=exported.model,
        model_sha256=sha256_of(exported.model),
        calibration=calibration.resized(geometry),
        validation=validation.resized(geometry),
    )
