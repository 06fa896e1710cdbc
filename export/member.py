"""One member of a bundle: from its `.keras` file to a verified ONNX file and what the bundle says of it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import onnx

from braintumor import NOTICE
from braintumor.export.frame import Frame, framed
from braintumor.export.from_keras.archive import KerasArchive, open_archive
from braintumor.export.lint import require_clean
from braintumor.export.plan import QuantisationPlan
from braintumor.export.precision import Precision, at_precision, half_around_int8
from braintumor.export.probe import PROBE_FILE, write_probe
from braintumor.export.quantize import INT8_OPSET, quantized
from braintumor.export.simplify import simplified
from braintumor.export.verify import verify
from braintumor.export.via_keras.convert import Conversion, convert, tool_versions
from braintumor.export.via_keras.worker import OPSET, Request
from braintumor.models.labels import class_permutation
from braintumor.runtime.cache import cached, content_key
from braintumor.runtime.image import Resize

__all__ = ["ExportedMember", "MemberOptions", "Target", "VerificationImages", "export_member"]

_CACHE_KIND: Final = "onnx-member"
# Moves when this module, or one that it calls, would give another result for the same conversion.
_RECIPE: Final = 6
_MODEL, _FIGURES = "model.onnx", "figures.json"


@dataclass(frozen=True, slots=True)
class MemberOptions:
    """What is asked of one member.

    Attributes:
        path: The `.keras` file.
        name: In the bundle.
        weight: In the vote, greater than 0.
        classes: Order of the model's outputs.
        preprocess: "auto", "none", "unit", "tf" or "torch".
        size: Height and width in pixels; None for the model's own.
        resize: How images are brought to that size.
    """

    path: Path
    name: str
    weight: float
    classes: tuple[str, ...]
    preprocess: str = "auto"
    size: tuple[int, int] | None = None
    resize: Resize = "antialias"


@dataclass(frozen=True, slots=True)
class VerificationImages:
    """What both sides are asked about.

    Attributes:
        paths: Image files; empty for phantoms.
        count: How many phantoms.
    """

    paths: tuple[Path, ...]
    count: int

    @property
    def kind(self) -> str:
        """Either "real" or "phantoms"."""
        return "real" if self.paths else "phantoms"


@dataclass(frozen=True, slots=True)
class ExportedMember:
    """A verified member.

    Attributes:
        entry: Its entry in `bundle.json`, without the file.
        model: Its ONNX file, in the cache.
        probe: Its probe's images, in the cache.
    """

    entry: Mapping[str, Any]
    model: Path
    probe: Path


@dataclass(frozen=True, slots=True)
class Target:
    """What a member is brought to.

    Attributes:
        precision: Of the weights and of what is computed.
        plan: For int8: what is quantised, and how.
        rest: For int8: precision of what is not, "fp32" for CPUs or "fp16" for GPUs.
    """

    precision: Precision
    plan: QuantisationPlan | None = None
    rest: Precision = "fp32"


def export_member(
    options: MemberOptions, classes: tuple[str, ...], target: Target, images: VerificationImages
) -> ExportedMember:
    """Convert, simplify, bring to a precision and verify one member. Every step is cached by content.

    Args:
        options: What is asked.
        classes: The bundle's class order.
        target: What it is brought to.
        images: For the verification.

    Raises:
        ModelError: The file is not a classifier that can be exported, or the plan is one for another.
        ParityError: The result does not answer what Keras answers.
    """
    archive = open_archive(options.path)
    conversion = convert(archive, _request(options, images))
    permutation = class_permutation(options.classes, classes)
    key = content_key(
        {
            "recipe": _RECIPE,
            "conversion": conversion.key,
            "precision": target.precision,
            "plan": target.plan and target.plan.sha256,
            "rest": target.rest,
            "permutation": permutation,
            "classes": classes,
        }
    )

    def build(folder: Path) -> None:
        figures = _build(folder / _MODEL, conversion, permutation, target, images.kind)
        (folder / _FIGURES).write_text(json.dumps(figures), encoding="utf-8")

    entry = cached(_CACHE_KIND, key, build)
    figures = json.loads((entry / _FIGURES).read_bytes())
    return ExportedMember(_entry(options, archive, conversion, target, figures), entry / _MODEL, entry / PROBE_FILE)


def _request(options: MemberOptions, images: VerificationImages) -> Request:
    return Request(
        model=str(options.path),
        preprocess=options.preprocess,
        size=options.size,
        resize=options.resize,
        images=tuple(str(path) for path in images.paths),
        count=images.count,
    )


def _build(
    path: Path, conversion: Conversion, permutation: tuple[int, ...], target: Target, kind: str
) -> dict[str, Any]:
    facts = conversion.facts
    core = onnx.load(str(conversion.core))
    converted = len(core.graph.node)
    core = simplified(core)
    nodes = {"converted": converted, "simplified": len(core.graph.node)}
    frame = Frame(facts.height, facts.width, facts.channels, facts.preprocess, facts.logits, permutation)
    if target.plan is None:
        model = framed(at_precision(core, target.precision), frame)
    else:
        model = _quantised(framed(core, frame), target.plan, target.rest)
    model.doc_string = NOTICE
    onnx.save(model, str(path))
    if target.plan is not None:
        require_clean(path)
    reference = conversion.reference[:, list(permutation)]
    verification = verify(path, conversion.images, reference, target.precision, kind=kind)
    probe = write_probe(path, path.parent, facts.height, facts.width)
    return {"nodes": nodes, "parity": verification.to_dict(), "probe": probe}


def _quantised(model: onnx.ModelProto, plan: QuantisationPlan, rest: Precision) -> onnx.ModelProto:
    int8 = quantized(model, plan.thresholds, plan.float_nodes)
    return half_around_int8(int8) if rest == "fp16" else int8


def _entry(
    options: MemberOptions,
    archive: KerasArchive,
    conversion: Conversion,
    target: Target,
    figures: Mapping[str, Any],
) -> dict[str, Any]:
    facts = asdict(conversion.facts)
    return {
        "name": options.name,
        "weight": options.weight,
        "height": facts["height"],
        "width": facts["width"],
        "resize": options.resize,
        "precision": target.precision,
        "quantisation": target.plan and _quantisation(target.plan, target.rest),
        "source": {
            "file": options.path.name,
            "sha256": archive.sha256,
            "keras_version": archive.keras_version,
            "architecture": facts["architecture"],
            "parameters": facts["parameters"],
            "channels": facts["channels"],
            "preprocess": facts["preprocess"],
            "dtype_policy": facts["policy"],
            "classes": list(options.classes),
        },
        "softmax_added": facts["logits"],
        "opset": INT8_OPSET if target.plan else OPSET,
        "tools": tool_versions(),
        **figures,
    }


def _quantisation(plan: QuantisationPlan, rest: Precision) -> dict[str, Any]:
    """What the bundle says of an int8 member: all of its plan but the thresholds, which are in the graph."""
    return {
        "plan_sha256": plan.sha256,
        "method": plan.method,
        "rest": rest,
        "float_groups": list(plan.float_groups),
        "float_nodes": list(plan.float_nodes),
        **plan.findings,
    }
