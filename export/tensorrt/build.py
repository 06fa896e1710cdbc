"""Plans of TensorRT or TensorRT for RTX from the members of a bundle, built ahead of time.

The lint finds what a builder would refuse, or build wrongly, before the first build. Plans go into a
folder of their own, never into a bundle: a plan is native code for some GPUs and one version of its library.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from braintumor.errors import UnavailableError, UsageError
from braintumor.export.graph.lint import require_clean
from braintumor.files import output_error
from braintumor.libraries import LIBRARIES
from braintumor.runtime.bundle.load import MANIFEST, Bundle
from braintumor.runtime.engines.tensorrt.build import BuildOptions, build_plan
from braintumor.runtime.engines.tensorrt.cuda import Gpu, find_gpu
from braintumor.runtime.engines.tensorrt.library import TrtLibrary, load_library
from braintumor.runtime.engines.tensorrt.plan_file import PlanFacts, write_plan

__all__ = ["PORTABLE", "BuiltEngine", "EngineOptions", "build_engines"]

PORTABLE: Final = ("SM80", "SM86", "SM89", "SM120")
"""Default compute capabilities of TensorRT for RTX without a GPU: cards of Ampere, Ada and Blackwell."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Options of a build.

    Attributes:
        engine: "tensorrt" or "tensorrt-rtx".
        folder: Of the plans.
        build: Batch sizes, compute capabilities, compatibility.
        device: Index of the GPU to build on, where one is needed.
    """

    engine: str
    folder: Path
    build: BuildOptions = field(default_factory=BuildOptions)
    device: int = 0


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    """One plan.

    Attributes:
        member: Name of the member.
        path: Of the plan; its JSON file lies beside it.
        facts: In the JSON file.
    """

    member: str
    path: Path
    facts: PlanFacts


def build_engines(bundle: Bundle, options: EngineOptions) -> Iterator[BuiltEngine]:
    """Build a plan a member, one after the other.

    Args:
        bundle: Verified.
        options: Of the build.

    Raises:
        ModelError: The lint found something; the message names the node.
        UsageError: The library does not have a requested feature, or the folder is a bundle.
        UnavailableError: The library, or the GPU that it needs, is not usable here; or it refuses a member.
        OutputError: The folder cannot be written.
    """
    library = load_library(options.engine)
    gpu, build = _target(library, options)
    for member in bundle.members:
        # All members, before the first build, which may take minutes.
        require_clean(member.path)
    _make_private(options.folder)
    for member in bundle.members:
        plan = build_plan(library, member.path, build, sha256=member.sha256, on=gpu)
        path = options.folder / f"{member.name}-{member.precision}-{options.engine}.plan"
        write_plan(path, plan.data, plan.facts)
        yield BuiltEngine(member.name, path, plan.facts)


def _target(library: TrtLibrary, options: EngineOptions) -> tuple[Gpu | None, BuildOptions]:
    """The GPU to build on, where one is needed or wanted, and the completed options."""
    if options.build.capabilities:
        return None, options.build
    try:
        return find_gpu(options.device, extra=LIBRARIES[options.engine].extra), options.build
    except UnavailableError:
        if not library.names_capabilities:
            raise
    return None, replace(options.build, capabilities=tuple(name for name in PORTABLE if name in library.capabilities))


def _make_private(folder: Path) -> None:
    """Create the folder for its owner only: plans that others can write are not loaded."""
    if any((parent / MANIFEST).exists() for parent in (folder, *folder.absolute().parents)):
        raise UsageError(
            f"{folder} is part of a bundle, and a bundle holds no plans", "choose another folder with `out`"
        )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.name == "posix" and not any(folder.iterdir()):
            folder.chmod(0o700)
    except OSError as error:
        raise output_error(folder, error) from error
