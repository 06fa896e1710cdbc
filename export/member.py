"""One member of a bundle: from its `.keras` or `.h5` file to a verified ONNX file and what the bundle says of it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from braintumor import NOTICE
from braintumor.cache import Cache, content_key
from braintumor.export.class_order import require_class_count
from braintumor.export.from_keras import KerasFacts
from braintumor.export.from_keras.archive import KerasArchive, open_archive
from braintumor.export.graph.io_wrapper import Frame, framed
from braintumor.export.graph.lint import require_clean
from braintumor.export.graph.precision import Precision, at_precision, half_around_int8
from braintumor.export.graph.qdq import INT8_OPSET, quantized
from braintumor.export.graph.quantization_plan import QuantisationPlan, require_structure
from braintumor.export.graph.session import answers
from braintumor.export.graph.structure import structure_of
from braintumor.export.network import (
    NETWORK_RECIPE,
    Network,
    ends_in_logits,
    installed_tools,
    read_network,
    tool_versions,
)
from braintumor.export.scaling import resolve_preprocess
from braintumor.export.stages import Stages
from braintumor.export.verify.compare import Compared, verify_and_ask
from braintumor.export.verify.probe import PROBE_FILE, write_probe
from braintumor.export.verify.reference import VerificationImages, reference_for, reference_source
from braintumor.export.via_keras.worker import OPSET
from braintumor.files import sha256_of
from braintumor.models.labels import class_permutation
from braintumor.models.outputs import class_probabilities
from braintumor.runtime.image.geometry import Geometry
from braintumor.runtime.image.head import Crop
from braintumor.runtime.image.resize import Resize

__all__ = [
    "MODEL",
    "ExportedMember",
    "MemberOptions",
    "Target",
    "VerificationImages",
    "build_member",
    "export_member",
]

_CACHE: Final = Cache("onnx-member")
# Moves when this module, or one that it calls, would give another result for the same network.
_RECIPE: Final = 11
MODEL: Final = "model.onnx"
_FIGURES: Final = "figures.json"


@dataclass(frozen=True, slots=True)
class MemberOptions:
    """What is asked of one member.

    Attributes:
        path: The `.keras` or `.h5` file.
        name: In the bundle.
        weight: In the vote, greater than 0.
        classes: Order of the model's outputs.
        preprocess: "auto", "none", "unit", "tf", "torch" or "caffe".
        size: Height and width in pixels; None for the model's own.
        resize: How images are brought to that size.
        classes_stated: Somebody, or the file itself, said that `classes` is the order; False where it is assumed.
        crop: What is cut off before; None for what the file says, or nothing where it does not.
    """

    path: Path
    name: str
    weight: float
    classes: tuple[str, ...]
    preprocess: str = "auto"
    size: tuple[int, int] | None = None
    resize: Resize = "antialias"
    classes_stated: bool = True
    crop: Crop | None = None


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
    options: MemberOptions,
    classes: tuple[str, ...],
    target: Target,
    images: VerificationImages,
    stages: Stages | None = None,
) -> ExportedMember:
    """Bring one member to a precision and verify it; at once when that was done before.

    Args:
        options: What is asked.
        classes: The bundle's class order.
        target: What it is brought to.
        images: For the verification.
        stages: Shared with other members that are exported at the same time.

    Raises:
        ModelError: The file is not a classifier that can be exported, or the plan is one for another.
        ParityError: The result does not answer what its reference answers.
        UnavailableError: A library that it needs is not installed.
    """
    archive = open_archive(options.path)
    key = content_key(
        {
            "recipe": [_RECIPE, NETWORK_RECIPE],
            "model": archive.sha256,
            "options": [options.preprocess, options.size, options.resize, _crop(options, archive), options.classes],
            "precision": target.precision,
            "plan": target.plan and target.plan.sha256,
            "rest": target.rest,
            "classes": classes,
            "images": [sha256_of(path) for path in images.paths] or images.count,
            "reference": reference_source(archive),
            "tools": installed_tools(),
        }
    )
    entry = _CACHE.build(key, lambda folder: build_member(folder, options, archive, classes, target, images, stages))
    figures = json.loads((entry / _FIGURES).read_bytes())
    return ExportedMember(_entry(options, archive, target, figures), entry / MODEL, entry / PROBE_FILE)


def build_member(
    folder: Path,
    options: MemberOptions,
    archive: KerasArchive,
    classes: tuple[str, ...],
    target: Target,
    images: VerificationImages,
    stages: Stages | None = None,
) -> None:
    """Write a member's model, probe and figures into a folder.

    Raises:
        As `export_member`.
    """
    path, stages = folder / MODEL, stages or Stages()
    figures, compared = stages.write(lambda: _write_model(path, options, archive, classes, target, images))
    height, width = compared.images.shape[1:]
    verification, probe = stages.verify(
        lambda: verify_and_ask(
            path, compared, target.precision, lambda opened: write_probe(opened, folder, height, width)
        )
    )
    figures |= {"parity": verification.to_dict(), "probe": probe}
    (folder / _FIGURES).write_text(json.dumps(figures), encoding="utf-8")


def _write_model(
    path: Path,
    options: MemberOptions,
    archive: KerasArchive,
    classes: tuple[str, ...],
    target: Target,
    images: VerificationImages,
) -> tuple[dict[str, Any], Compared]:
    """Write a member's model; gives what the bundle says of it so far, and what it has to answer."""
    network = read_network(archive, options.size)
    facts = network.facts
    require_class_count(options.path, facts.classes, options.classes, stated=options.classes_stated)
    preprocess = resolve_preprocess(facts, options.path, options.preprocess)
    pixels = images.sized(Geometry(facts.height, facts.width, options.resize, _crop(options, archive)))
    reference = reference_for(archive, facts, preprocess, pixels)
    plain = Frame(facts.height, facts.width, facts.channels, preprocess, softmax=False, permutation=_in_order(facts))
    outputs = _own_outputs(network, plain, pixels) if reference.outputs is None else reference.outputs
    logits = ends_in_logits(facts.last_activation, outputs, options.path)
    permutation = class_permutation(options.classes, classes)
    figures = {
        "nodes": {"converted": network.nodes, "simplified": len(network.model.graph.node)},
        "softmax_added": logits,
        "route": asdict(network.route),
        "tools": tool_versions(network.route),
        "facts": asdict(facts),
        "preprocess": preprocess,
    }
    frame = replace(plain, softmax=logits, permutation=permutation, one_unit=facts.classes == 1)
    model = _at_target(network.model, frame, target, options.path)
    model.doc_string = NOTICE
    onnx.save(model, str(path))
    if target.plan is not None:
        require_clean(path)
    probabilities = class_probabilities(outputs, logits=logits)[:, list(permutation)]
    return figures, Compared(pixels, probabilities, images.kind, reference.answered_by, reference.missing)


def _crop(options: MemberOptions, archive: KerasArchive) -> Crop:
    return archive.crop if options.crop is None else options.crop


def _in_order(facts: KerasFacts) -> tuple[int, ...]:
    return tuple(range(facts.classes))


def _own_outputs(network: Network, plain: Frame, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the network's own FP32 graph gives, in the model's own class order."""
    copy = onnx.ModelProto()
    copy.CopyFrom(network.model)
    return answers(framed(copy, plain).SerializeToString(), pixels)


def _at_target(core: onnx.ModelProto, frame: Frame, target: Target, path: Path) -> onnx.ModelProto:
    """Frame a network and bring it to a precision; the network is used up."""
    if target.plan is None:
        return framed(at_precision(core, target.precision), frame)
    model = framed(core, frame)
    require_structure(target.plan, structure_of(model), path)
    int8 = quantized(model, target.plan.thresholds, target.plan.float_nodes)
    return half_around_int8(int8) if target.rest == "fp16" else int8


def _entry(
    options: MemberOptions, archive: KerasArchive, target: Target, figures: Mapping[str, Any]
) -> dict[str, Any]:
    facts = figures["facts"]
    return {
        "name": options.name,
        "weight": options.weight,
        "height": facts["height"],
        "width": facts["width"],
        "resize": options.resize,
        "crop": _crop(options, archive),
        "precision": target.precision,
        "quantisation": target.plan and _quantisation(target.plan, target.rest),
        "source": {
            "file": options.path.name,
            "sha256": archive.sha256,
            "keras_version": archive.keras_version,
            "architecture": facts["architecture"],
            "parameters": facts["parameters"],
            "channels": facts["channels"],
            "preprocess": figures["preprocess"],
            "dtype_policy": facts["policy"],
            "classes": list(options.classes),
            "classes_stated": options.classes_stated,
            **({"unit": options.classes[1]} if facts["classes"] == 1 else {}),
            # Of our own builder's models it is known, not taken for it.
            **({"scaled_by": facts["scaled_by"]} if options.preprocess == "auto" and archive.classes is None else {}),
        },
        "opset": INT8_OPSET if target.plan else OPSET,
        **{name: figures[name] for name in ("softmax_added", "route", "tools", "nodes", "parity", "probe")},
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
