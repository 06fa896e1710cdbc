"""The plan of a member for this machine: from a folder that the user names, from the cache, or built now.

A plan is native code for one GPU, one driver and one version of its library, and is never part of a bundle. Loading
one runs what it holds, so plans come only from places that are the user's own: the cache, which nobody else can
read or write, and the folder $BRAINTUMOR_PLANS, when its owner is the user and nobody else may write there.
"""

import contextlib
import logging
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from braintumor.cache import Cache, content_key
from braintumor.errors import BraintumorError, IntegrityError, OutputError
from braintumor.runtime.bundle.load import Member
from braintumor.runtime.engines.tensorrt.build import BuildOptions, Plan, build_plan
from braintumor.runtime.engines.tensorrt.cuda import Gpu
from braintumor.runtime.engines.tensorrt.library import TrtLibrary
from braintumor.runtime.engines.tensorrt.plan_file import PlanFacts, read_facts, read_plan, write_plan
from braintumor.runtime.engines.tensorrt.profile import BatchProfile

__all__ = ["PLANS_VARIABLE", "PlanRequest", "differences", "forget_plan", "plan_for", "rebuilt_plan"]

PLANS_VARIABLE: Final = "BRAINTUMOR_PLANS"
"""A folder of plans that were built ahead of time by `bt-engine`."""

_LOG: Final = logging.getLogger("braintumor")
_PLANS: Final = Cache("tensorrt")
_TIMINGS: Final = Cache("tensorrt-timing")
_FILE: Final = "model.plan"
# Moves when the same request would be built otherwise.
_RECIPE: Final = 1


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """A member, and what is to run it.

    Attributes:
        member: From a verified bundle.
        library: Loaded.
        gpu: Of this machine.
        profile: Batch sizes.
    """

    member: Member
    library: TrtLibrary
    gpu: Gpu
    profile: BatchProfile

    @property
    def key(self) -> str:
        """Over everything that decides what the plan holds, and whether it runs here."""
        return content_key(
            {
                "recipe": _RECIPE,
                "onnx": self.member.sha256,
                "precision": self.member.precision,
                "library": self.library.name,
                "version": self.library.version,
                "gpu": self.gpu.name,
                "capability": self.gpu.capability,
                "driver": self.gpu.driver,
                "profile": str(self.profile),
            }
        )


def plan_for(request: PlanRequest, *, ahead: bool = True) -> tuple[bytes, PlanFacts]:
    """The plan of a member, built when there is none that fits; a line on the logger "braintumor" says why.

    Args:
        request: The member, and its machine.
        ahead: Also look into the folder that $BRAINTUMOR_PLANS names; a plan from there may have another profile.

    Raises:
        UnavailableError: The library refuses the member.
        OutOfMemoryError: The build does not fit into memory.
    """
    return (_ahead_of_time(request) if ahead else None) or _from_cache(request)


def rebuilt_plan(request: PlanRequest, error: BraintumorError) -> tuple[bytes, PlanFacts]:
    """The plan of a member for which `plan_for` gave one that does not load.

    Args:
        request: As before.
        error: Why it does not load.

    Raises:
        UnavailableError: The library refuses the member.
    """
    _LOG.warning("%s: its plan does not load (%s); building it again", request.member.name, error)
    _PLANS.discard(request.key)
    return _from_cache(request)


def forget_plan(request: PlanRequest) -> None:
    """Remove the plan of a member from the cache; one that cannot be removed stays."""
    _PLANS.discard(request.key)


def differences(facts: PlanFacts, request: PlanRequest) -> list[str]:
    """Reasons why a plan of the same model does not fit a machine; empty when it does.

    Args:
        facts: Of the plan.
        request: Of the machine.
    """
    reasons = []
    if facts.library_version != request.library.version and not facts.version_compatible:
        reasons.append(f"{facts.library} {facts.library_version} built it, and here is {request.library.version}")
    if request.gpu.capability not in facts.compute_capabilities and facts.hardware_compatibility != "ampere+":
        reasons.append(f"it is for {', '.join(facts.compute_capabilities)}, and this GPU is {request.gpu.capability}")
    elif facts.gpu not in {None, request.gpu.name} and facts.hardware_compatibility == "none":
        reasons.append(f"it is for the GPU {facts.gpu}, and here is {request.gpu.name}")
    if facts.driver not in {None, request.gpu.driver}:
        reasons.append(f"it was built with the driver {facts.driver}, and here is {request.gpu.driver}")
    if facts.profile != request.profile:
        reasons.append(f"it is for batches of {facts.profile}, and {request.profile} is needed")
    return reasons


def _from_cache(request: PlanRequest) -> tuple[bytes, PlanFacts]:
    def build(folder: Path) -> None:
        plan = _build(request)
        write_plan(folder / _FILE, plan.data, plan.facts)

    try:
        return read_plan(_PLANS.build(request.key, build) / _FILE)
    except OutputError as error:
        # No place to keep it: it is built at every start, and the answers are the same.
        _LOG.warning("%s", error)
        plan = _build(request)
        return plan.data, plan.facts


def _build(request: PlanRequest) -> Plan:
    library, gpu = request.library, request.gpu
    _LOG.warning(
        "%s: building its plan for %s, once: with %s %s it takes %s%s",
        request.member.name,
        gpu.name,
        library.title,
        library.version,
        "seconds" if library.names_capabilities else "minutes",
        _why_again(request),
    )
    timing_key = content_key({"version": library.version, "gpu": gpu.name, "driver": gpu.driver})
    timing = _TIMINGS.get_bytes(timing_key)
    member, options = request.member, BuildOptions(request.profile)
    plan = build_plan(library, member.path, options, sha256=member.sha256, on=gpu, timing=timing)
    if plan.timing and len(plan.timing) != len(timing):
        _TIMINGS.put_bytes(timing_key, plan.timing)
    return plan


def _why_again(request: PlanRequest) -> str:
    """The faults of the plans that were built for this model before; "" when there are none."""
    others = [facts for facts in _known(_PLANS.folder) if _same_model(facts, request)]
    reasons = [differences(facts, request) for facts in others]
    if not reasons:
        return ""
    # The plan that fits best has the most telling reasons.
    closest: list[str] = min(reasons, key=len)
    return "; the one that is here does not do: " + ("; ".join(closest) or "it is damaged")


def _ahead_of_time(request: PlanRequest) -> tuple[bytes, PlanFacts] | None:
    """A plan from the folder that the user names; where none fits, a line in the log has the reasons."""
    if not (folder := os.environ.get(PLANS_VARIABLE)):
        return None
    reasons: list[str] = []
    for path in sorted(Path(folder).glob("*.plan")):
        try:
            facts = read_facts(path)
            if not _same_model(facts, request):
                continue
            # Any batch sizes will do: they were chosen when it was built.
            unfit = differences(facts, PlanRequest(request.member, request.library, request.gpu, facts.profile))
            unfit += _others_may_write(path)
            if not unfit:
                return read_plan(path)
            reasons += unfit
        except IntegrityError as error:
            reasons.append(str(error))
    _LOG.warning(
        "%s: no plan in %s serves (%s)",
        request.member.name,
        folder,
        "; ".join(reasons) or f"none is of this model for {request.library.name}",
    )
    return None


def _same_model(facts: PlanFacts, request: PlanRequest) -> bool:
    return (facts.onnx_sha256, facts.library) == (request.member.sha256, request.library.name)


def _known(root: Path) -> Iterator[PlanFacts]:
    for path in _listed(root):
        with contextlib.suppress(IntegrityError):
            yield read_facts(path)


def _listed(root: Path) -> Iterable[Path]:
    try:
        return sorted(root.glob(f"*/{_FILE}"))
    except OSError:
        return ()


def _others_may_write(plan: Path) -> list[str]:
    """Faults in the permissions, by which others could have put native code there; empty on Windows."""
    if sys.platform == "win32":
        return []
    problems = []
    for path in (plan, plan.parent):
        status = path.stat()
        if status.st_uid not in {os.getuid(), 0} or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            problems.append(f"others may write {path}: chmod go-w {path}, as its owner")
    return problems
