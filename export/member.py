"""One member of a bundle: from its `.keras` file to a verified ONNX file and what the bundle says of it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import onnx

from braintumor import NOTICE
from braintumor.export.archive import KerasArchive, open_archive
from braintumor.export.conversion import Conversion, convert, tool_versions
from braintumor.export.frame import Frame, framed
from braintumor.export.onnx_from_keras import OPSET, Request
from braintumor.export.precision import Precision, at_precision
from braintumor.export.simplify import simplified
from braintumor.export.verify import verify
from braintumor.models.labels import class_permutation
from braintumor.runtime.cache import cached, content_key
from braintumor.runtime.image import Resize

__all__ = ["ExportedMember", "MemberOptions", "VerificationImages", "export_member"]

_CACHE_KIND: Final = "onnx-member"
# Moves when this module, or one that it calls, would give another result for the same conversion.
_RECIPE: Final = 3
_MODEL, _FIGURES = "model.onnx", "figures.json"


@dataclass(frozen=True, slots=True)
class MemberOptions:
    """What is asked of one member.

    Attributes:
        path: The `.keras` file.
        name: In the bundle.
        weight: In the vote, greater than 0.
        classes: Order of the model's outputs.
        preprocess: "auto", "none", "tf" or "torch".
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
    """

    entry: Mapping[str, Any]
    model: Path


def export_member(
    options: MemberOptions, classes: tuple[str, ...], precision: Precision, images: VerificationImages
) -> ExportedMember:
    """Convert, simplify, bring to a precision and verify one member. Every step is cached by content.

    Args:
        options: What is asked.
        classes: The bundle's class order.
        precision: Of the weights and of what is computed.
        images: For the verification.

    Raises:
        ModelError: The file is not a classifier that can be exported.
        ParityError: The result does not answer what Keras answers.
    """
    archive = open_archive(options.path)
    conversion = convert(archive, _request(options, images))
    permutation = class_permutation(options.classes, classes)
    key = content_key(
        {
            "recipe": _RECIPE,
            "conversion": conversion.key,
            "precision": precision,
            "permutation": permutation,
            "classes": classes,
        }
    )

    def build(folder: Path) -> None:
        figures = _build(folder / _MODEL, conversion, permutation, precision, images.kind)
        (folder / _FIGURES).write_text(json.dumps(figures), encoding="utf-8")

    entry = cached(_CACHE_KIND, key, build)
    figures = json.loads((entry / _FIGURES).read_bytes())
    return ExportedMember(_entry(options, archive, conversion, precision, figures), entry / _MODEL)


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
    path: Path, conversion: Conversion, permutation: tuple[int, ...], precision: Precision, kind: str
) -> dict[str, Any]:
    facts = conversion.facts
    core = onnx.load(str(conversion.core))
    converted = len(core.graph.node)
    core = simplified(core)
    nodes = {"converted": converted, "simplified": len(core.graph.node)}
    frame = Frame(facts.height, facts.width, facts.channels, facts.preprocess, facts.logits, permutation)
    model = framed(at_precision(core, precision), frame)
    model.doc_string = NOTICE
    onnx.save(model, str(path))
    reference = conversion.reference[:, list(permutation)]
    verification = verify(path, conversion.images, reference, precision, kind=kind)
    return {"nodes": nodes, "parity": verification.to_dict()}


def _entry(
    options: MemberOptions,
    archive: KerasArchive,
    conversion: Conversion,
    precision: Precision,
    figures: Mapping[str, Any],
) -> dict[str, Any]:
    facts = asdict(conversion.facts)
    return {
        "name": options.name,
        "weight": options.weight,
        "height": facts["height"],
        "width": facts["width"],
        "resize": options.resize,
        "precision": precision,
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
        "opset": OPSET,
        "tools": tool_versions(),
        **figures,
    }
