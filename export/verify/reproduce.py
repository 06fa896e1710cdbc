"""Exporting a bundle again, to compare the files."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from braintumor.bench.data.originals import keras_sources
from braintumor.errors import UnavailableError
from braintumor.export.graph.quantization_plan import plan_beside
from braintumor.export.member import MODEL, build_member
from braintumor.export.network import tool_version
from braintumor.export.options import MemberOptions, Target
from braintumor.export.stages import ModelStages, open_model
from braintumor.export.verify.compare import MIN_IMAGES
from braintumor.export.verify.probe import PROBE_FILE
from braintumor.export.verify.reference import VerificationImages
from braintumor.files import sha256_of
from braintumor.runtime.bundle.load import Bundle, Member, load_bundle

if TYPE_CHECKING:
    from braintumor.export.graph.precision import Precision

__all__ = ["Reproduction", "ToolChange", "reproduce_bundle"]


@dataclass(frozen=True, slots=True)
class ToolChange:
    """A library whose version is not the one that made a bundle.

    Attributes:
        tool: Its name.
        then: The version that made the bundle.
        now: The version here; None where it is not installed.
    """

    tool: str
    then: str
    now: str | None


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A member that was exported again.

    Attributes:
        member: Its name.
        different: Files that differ: "model.onnx", "probe.raw".
        tools: Libraries of other versions than those that made it.
    """

    member: str
    different: tuple[str, ...]
    tools: tuple[ToolChange, ...]


def reproduce_bundle(
    folder: Path, model_folders: Sequence[Path], step: Callable[[str], None], public_key: Path | None = None
) -> tuple[Reproduction, ...]:
    """Export every member of a bundle again, without the cache, and compare.

    Args:
        folder: The bundle.
        model_folders: Where the `.keras` files are looked for, by their hash; what ships with the package comes last.
        step: Gets a description of what is done next.
        public_key: The PEM file of a public key that must have signed it; None for any bundle.

    Raises:
        IntegrityError: It is not a bundle, it was changed, or it is not signed with that key.
        UnavailableError: A `.keras` file, or the plan of an int8 member, is not found.
    """
    bundle = load_bundle(folder, public_key=public_key)
    reproductions = []
    for member, path in zip(bundle.members, keras_sources(bundle, model_folders), strict=True):
        step(f"{member.name}: exporting again")
        reproductions.append(_reproduced(bundle, member, path))
    return tuple(reproductions)


def _reproduced(bundle: Bundle, member: Member, path: Path) -> Reproduction:
    source = member.details["source"]
    options = MemberOptions(
        path=path,
        name=member.name,
        weight=member.weight,
        classes=tuple(source["classes"]),
        preprocess=source["preprocess"],
        size=(member.height, member.width),
        resize=member.resize,
        crop=member.crop,
    )
    opened = open_model(options)
    with tempfile.TemporaryDirectory(prefix="braintumor-") as name:
        work = Path(name)
        model = ModelStages(opened, bundle.classes, VerificationImages((), MIN_IMAGES), work)
        build_member(work, model, _target(member, path, opened.archive.sha256))
        expected = {MODEL: member.sha256}
        if member.probe is not None:
            expected[PROBE_FILE] = member.details["probe"]["sha256"]
        different = tuple(name for name, sha256 in expected.items() if sha256_of(work / name) != sha256)
    return Reproduction(member.name, different, _tool_changes(member.details["tools"]))


def _target(member: Member, path: Path, sha256: str) -> Target:
    precision = cast("Precision", member.precision)
    quantisation = member.details.get("quantisation")
    if quantisation is None:
        return Target(precision)
    plan = plan_beside(path, sha256)
    if plan is None or plan.sha256 != quantisation["plan_sha256"]:
        raise UnavailableError(
            f"{member.name} was quantised by a plan that is not beside {path} (SHA-256 "
            f"{quantisation['plan_sha256'][:12]}…)",
            "put it there, as `save_plans` wrote it",
        )
    return Target(precision, plan, quantisation["rest"])


def _tool_changes(tools: dict[str, Any]) -> tuple[ToolChange, ...]:
    versions = {name: (then, tool_version(name)) for name, then in tools.items()}
    return tuple(ToolChange(name, then, now) for name, (then, now) in versions.items() if now != then)
