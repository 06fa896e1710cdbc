"""The bundle of `braintumor.runtime.bundle.starter`: the models of the package, at a precision that fits this CPU.

Int8 is only faster where the CPU and the engine have kernels for it: ONNX Runtime on a CPU without VNNI takes longer
than at FP32. So the smallest model is timed at both; where int8 gains, each of the others is timed, too
(`braintumor.export.int8.mixed`), and no member is slower than at FP32.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from braintumor.errors import ModelError, ParityError, UsageError
from braintumor.export.int8.mixed import Candidate, PrecisionChoice, choose_precisions
from braintumor.export.int8.plan_source import plans_for
from braintumor.export.member import ExportedMember, export_member
from braintumor.export.options import ExportOptions, MemberOptions, QuantisationOptions, Target
from braintumor.export.pipeline import export_models, open_models
from braintumor.export.stages import ModelStages
from braintumor.export.verify.compare import MIN_IMAGES
from braintumor.export.verify.reference import VerificationImages
from braintumor.models.labels import CLASSES
from braintumor.progress import Note, ProgressCallback, Step
from braintumor.runtime.bundle.load import Bundle
from braintumor.runtime.engines.registry import AUTO, ENGINES, candidates
from braintumor.system.fingerprint import machine_fingerprint

__all__ = ["export_starter"]

_JOB: Final = "First run: exporting the models that come with the package, about half a minute"
# Small and quick to export; a CPU that gains on it may gain on the others.
_MEASURED: Final = "DenseNet121"


def export_starter(folder: Path, models: Sequence[Path], progress: ProgressCallback) -> Bundle:
    """Export the models that come with the package.

    Args:
        folder: Where the bundle goes.
        models: Their `.keras` files, with quantisation plans beside them.
        progress: Gets the steps, and the reason for the precision.

    Raises:
        As `export_bundle`.
    """
    members = tuple(MemberOptions(path, path.stem, 1.0, CLASSES) for path in models)
    options = ExportOptions(members, "fp32", folder, folder.name, VerificationImages((), MIN_IMAGES), "bt-infer")
    steps = _Steps(progress, len(members))
    with open_models(options) as opened:
        if _int8_gains(opened, steps):
            options = replace(options, precision="mixed")
        return export_models(opened, options, steps)


def _int8_gains(models: Sequence[ModelStages], steps: "_Steps") -> bool:
    """Whether int8 is faster on this CPU, measured on one member."""
    if _has_gpu_engine():
        steps.note("fp32, because a GPU computes here")
        return False
    model = next((model for model in models if model.options.name == _MEASURED), models[0])
    try:
        choice = _measure(model, steps)
    except (ModelError, ParityError, UsageError) as error:
        # An answer at FP32 is better than none.
        steps.note(f"fp32, as int8 cannot be made: {error}")
        return False
    steps.note(f"{'int8 where it is faster' if choice.int8 else 'fp32'}: for {model.options.name} {choice.reason}")
    return choice.int8


def _measure(model: ModelStages, steps: "_Steps") -> PrecisionChoice:
    (plan,) = plans_for([model], QuantisationOptions(), steps.begin)
    exported = []
    for target in (Target("int8", plan), Target("fp32")):
        steps.begin(f"{model.options.name}: exporting at {target.precision}")
        exported.append(export_member(model, target))
    (choice,) = choose_precisions([Candidate(*exported)], steps.begin, candidates(AUTO, "cpu"))
    return choice


def _has_gpu_engine() -> bool:
    libraries = {library for name in candidates(AUTO, "cuda") for library in ENGINES[name].libraries}
    # The plain one computes on the CPU only.
    here = machine_fingerprint(libraries - {"onnxruntime"})
    return bool(here["gpus"]) and any(here["libraries"].values())


class _Steps:
    """The steps of an export, counted: two exports and a measurement to choose, then one for each member."""

    def __init__(self, progress: ProgressCallback, members: int) -> None:
        self._progress = progress
        self._number = 0
        self._total = 3 + members

    def begin(self, title: str, total: int | None = None) -> None:
        """A step begins."""
        del total
        self._number += 1
        self._total = max(self._total, self._number)
        self._progress(Step(_JOB, title, self._number, self._total))

    def tick(self, count: int = 1) -> None:
        """Steps are not shown in parts."""

    def note(self, text: str) -> None:
        """Report a reason."""
        self._progress(Note(text))

    def done(self, exported: ExportedMember) -> None:
        """A member is ready."""
