"""The last stage: a member of a bundle at one precision, verified, and what the bundle says of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx

from braintumor import NOTICE
from braintumor.cache import Cache, content_key
from braintumor.export.graph.io_wrapper import wrap_io
from braintumor.export.graph.lint import require_clean
from braintumor.export.graph.precision import Precision, at_precision, at_precision_around_qdq
from braintumor.export.graph.qdq import INT8_OPSET, insert_qdq
from braintumor.export.graph.quantization_plan import QuantisationPlan, require_structure
from braintumor.export.graph.structure import structure_of
from braintumor.export.network import NETWORK_RECIPE, installed_tools, keras_is_installed
from braintumor.export.options import Target
from braintumor.export.overlap import StageSlots
from braintumor.export.stages import Fp32Graph, ModelStages
from braintumor.export.verify.compare import verify_and_run
from braintumor.export.verify.probe import PROBE_FILE, write_probe
from braintumor.export.verify.reference import reference_source
from braintumor.export.via_keras.worker import OPSET
from braintumor.files import sha256_of

__all__ = ["MODEL", "ExportedMember", "build_member", "export_member"]

_CACHE: Final = Cache("onnx-member")
# Moves when this module, or one that it calls, would give another result for the same network.
_RECIPE: Final = 11
MODEL: Final = "model.onnx"
_FIGURES: Final = "figures.json"


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


def export_member(model: ModelStages, target: Target, slots: StageSlots | None = None) -> ExportedMember:
    """Bring a model to a precision and verify it; at once when that was done before.

    Args:
        model: The stages before.
        target: The precision.
        slots: Shared with other members that are exported at the same time.

    Raises:
        ModelError: The file is not a classifier that can be exported, or the plan was made for another.
        ParityError: The result does not answer what its reference answers.
        UnavailableError: A library that it needs is not installed.
    """
    folder = _CACHE.build(_key(model, target), lambda folder: build_member(folder, model, target, slots))
    figures = json.loads((folder / _FIGURES).read_bytes())
    return ExportedMember(_entry(model, target, figures), folder / MODEL, folder / PROBE_FILE)


def build_member(folder: Path, model: ModelStages, target: Target, slots: StageSlots | None = None) -> None:
    """Write a member's ONNX file, probe and figures into a folder.

    Raises:
        As `export_member`.
    """
    path, slots = folder / MODEL, slots or StageSlots()
    graph = slots.write(lambda: _write_model(path, model, target))
    verification, probe = slots.verify(
        lambda: verify_and_run(
            path,
            graph.reference,
            target.precision,
            lambda session: write_probe(session, folder, graph.wrapper.height, graph.wrapper.width),
        )
    )
    figures = {**graph.details, "parity": verification.to_dict(), "probe": probe}
    (folder / _FIGURES).write_text(json.dumps(figures), encoding="utf-8")


def _key(model: ModelStages, target: Target) -> str:
    """Key of everything that decides a member."""
    options, images = model.options, model.images
    return content_key(
        {
            "recipe": [_RECIPE, NETWORK_RECIPE],
            "model": model.archive.sha256,
            "options": [options.preprocess, options.size, options.resize, model.crop, options.classes],
            "precision": target.precision,
            "plan": target.plan and target.plan.sha256,
            "rest": target.float_precision,
            "classes": model.classes,
            "images": [sha256_of(path) for path in images.paths] or images.count,
            # With both, as recorded answers may be about other images than these.
            "reference": [reference_source(model.archive, images), keras_is_installed()],
            "tools": installed_tools(),
        }
    )


def _write_model(path: Path, model: ModelStages, target: Target) -> Fp32Graph:
    graph = model.fp32_graph
    proto = _at_target(model, graph, target)
    proto.doc_string = NOTICE
    onnx.save(proto, str(path))
    if target.plan is not None:
        require_clean(path)
    return graph


def _at_target(model: ModelStages, graph: Fp32Graph, target: Target) -> onnx.ModelProto:
    if target.plan is None:
        return wrap_io(at_precision(model.network(), target.precision), graph.wrapper)
    wrapped = wrap_io(model.network(), graph.wrapper)
    require_structure(target.plan, structure_of(wrapped), model.options.path)
    int8 = insert_qdq(wrapped, target.plan.thresholds, target.plan.float_nodes)
    return at_precision_around_qdq(int8, target.float_precision)


def _entry(model: ModelStages, target: Target, figures: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of a member in `bundle.json`, without its files."""
    options, archive, facts = model.options, model.archive, figures["facts"]
    return {
        "name": options.name,
        "weight": options.weight,
        "height": facts["height"],
        "width": facts["width"],
        "resize": options.resize,
        "crop": model.crop,
        "precision": target.precision,
        "quantisation": target.plan and _quantisation(target.plan, target.float_precision),
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
            # Models of our own builder are known to scale inside; of others it is assumed.
            **({"scaled_by": facts["scaled_by"]} if options.preprocess == "auto" and archive.classes is None else {}),
        },
        "opset": INT8_OPSET if target.plan else OPSET,
        **{name: figures[name] for name in ("softmax_added", "route", "tools", "nodes", "parity", "probe")},
    }


def _quantisation(plan: QuantisationPlan, float_precision: Precision) -> dict[str, Any]:
    """The plan of an int8 member for `bundle.json`, without the thresholds, which are in the graph."""
    return {
        "plan_sha256": plan.sha256,
        "method": plan.method,
        "rest": float_precision,
        "float_groups": list(plan.float_groups),
        "float_nodes": list(plan.float_nodes),
        **plan.findings,
    }
