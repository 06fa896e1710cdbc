"""The stages that a model goes through once, for all members that are made of it.

    model file ─ open ─► archive ─ convert ─► network ─ frame ─► FP32 graph

`braintumor.export.member` makes of it a member at one precision; `braintumor.export.pipeline` takes all models of an
export through the stages.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from braintumor.cache import Cache, cache_folder, content_key
from braintumor.export.class_order import require_class_count
from braintumor.export.from_keras import KerasFacts
from braintumor.export.from_keras.archive import KerasArchive, open_archive
from braintumor.export.graph.io_wrapper import IoWrapper, free_names, wrap_io
from braintumor.export.graph.session import answers
from braintumor.export.graph.structure import Structure, structure_of
from braintumor.export.network import (
    NETWORK_RECIPE,
    Route,
    ends_in_logits,
    installed_tools,
    read_network,
    tool_versions,
)
from braintumor.export.options import MemberOptions
from braintumor.export.scaling import resolve_preprocess
from braintumor.export.verify.compare import ReferenceAnswers
from braintumor.export.verify.reference import VerificationImages, reference_for
from braintumor.files import output_error
from braintumor.models.labels import class_permutation
from braintumor.models.outputs import class_probabilities
from braintumor.runtime.image.geometry import Geometry
from braintumor.runtime.image.head import Crop
from braintumor.work_folder import work_folder

__all__ = ["Fp32Graph", "ModelStages", "OpenedModel", "networks_folder", "open_model"]

_STRUCTURES: Final = Cache("network-structure")
_STRUCTURE_FILE: Final = "structure.json"
# Moves when `structure_of` would give another structure for the same network.
_STRUCTURE_RECIPE: Final = 1


@dataclass(frozen=True, slots=True)
class OpenedModel:
    """A model file that was checked and hashed.

    Attributes:
        options: With the class order that the file tells, where none was stated.
        archive: The file.
    """

    options: MemberOptions
    archive: KerasArchive

    @property
    def crop(self) -> Crop:
        """The part that is cut off an image before it is resized."""
        return self.archive.crop if self.options.crop is None else self.options.crop


def open_model(options: MemberOptions) -> OpenedModel:
    """Check and hash a model file, and read the class order that it tells.

    Raises:
        UsageError: It does not exist.
        ModelError: It is not a model file that may be loaded.
    """
    archive = open_archive(options.path)
    if not options.classes_stated and archive.classes is not None:
        options = replace(options, classes=archive.classes, classes_stated=True)
    return OpenedModel(options, archive)


@contextmanager
def networks_folder() -> Iterator[Path]:
    """A folder for the converted networks of one export; gone at the end.

    Raises:
        OutputError: The cache, where it lies, cannot be written.
    """
    root = cache_folder() / "networks"
    with ExitStack() as stack:
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = stack.enter_context(work_folder(root, "."))
        except OSError as error:
            raise output_error(root, error) from error
        yield folder


@dataclass(frozen=True, slots=True)
class _Conversion:
    """A converted network, in a file, so that the memory of an export does not grow with its models."""

    path: Path
    facts: KerasFacts
    route: Route
    nodes: Mapping[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Fp32Graph:
    """The common basis of all members of a model.

    Attributes:
        wrapper: Input and output of the network.
        reference: The images of the verification, and what the reference answers to them.
        details: Of the model in `bundle.json`, for all precisions.
    """

    wrapper: IoWrapper
    reference: ReferenceAnswers
    details: Mapping[str, Any]


class ModelStages:
    """The stages of one model: each is done when its result is first needed, and not again.

    One thread at a time may ask for the results.

    Attributes:
        options: Of the member.
        archive: The model file.
        crop: Cut off an image before it is resized.
        classes: The bundle's class order.
        images: For the verification.
    """

    def __init__(
        self, opened: OpenedModel, classes: tuple[str, ...], images: VerificationImages, folder: Path
    ) -> None:
        """Nothing is done yet.

        Args:
            opened: The model.
            classes: The bundle's class order.
            images: For the verification.
            folder: Gets the converted network, as NAME.onnx.
        """
        self.options, self.archive, self.crop = opened.options, opened.archive, opened.crop
        self.classes, self.images = classes, images
        self._network_path = folder / f"{self.options.name}.onnx"

    def network(self) -> onnx.ModelProto:
        """The network at FP32, without scaling, softmax and class order; each call gives a copy of its own.

        Raises:
            As `read_network`.
        """
        return onnx.load(str(self._conversion.path))

    @cached_property
    def _conversion(self) -> _Conversion:
        network = read_network(self.archive, self.options.size)
        onnx.save(network.model, str(self._network_path))
        nodes = {"converted": network.nodes, "simplified": len(network.model.graph.node)}
        return _Conversion(self._network_path, network.facts, network.route, nodes)

    @cached_property
    def structure(self) -> Structure:
        """The structure of the network, for quantisation plans; kept in the cache.

        Raises:
            As `read_network`.
        """

        def build(folder: Path) -> None:
            model = self.network()
            free_names(model.graph)
            (folder / _STRUCTURE_FILE).write_text(json.dumps(asdict(structure_of(model))), encoding="utf-8")

        key = content_key(
            {
                "recipe": [_STRUCTURE_RECIPE, NETWORK_RECIPE],
                "model": self.archive.sha256,
                "size": self.options.size,
                "tools": installed_tools(),
            }
        )
        return Structure(**json.loads((_STRUCTURES.build(key, build) / _STRUCTURE_FILE).read_bytes()))

    @cached_property
    def fp32_graph(self) -> Fp32Graph:
        """The network's input and output, and its reference.

        Raises:
            ModelError: It is not a classifier that can be exported.
            UnavailableError: A library that it needs is not installed.
        """
        options, conversion = self.options, self._conversion
        facts, route = conversion.facts, conversion.route
        require_class_count(options.path, facts.classes, options.classes, stated=options.classes_stated)
        preprocess = resolve_preprocess(facts, options.path, options.preprocess)
        pixels = self.images.resized(Geometry(facts.height, facts.width, options.resize, self.crop))
        reference = reference_for(self.archive, facts, preprocess, pixels)
        in_order = tuple(range(facts.classes))
        plain = IoWrapper(facts.height, facts.width, facts.channels, preprocess, softmax=False, permutation=in_order)
        outputs = self._own_outputs(plain, pixels) if reference.outputs is None else reference.outputs
        logits = ends_in_logits(facts.last_activation, outputs, options.path)
        permutation = class_permutation(options.classes, self.classes)
        probabilities = class_probabilities(outputs, logits=logits)[:, list(permutation)]
        return Fp32Graph(
            wrapper=replace(plain, softmax=logits, permutation=permutation, one_unit=facts.classes == 1),
            reference=ReferenceAnswers(
                pixels, probabilities, self.images.kind, reference.answered_by, reference.missing
            ),
            details={
                "nodes": dict(conversion.nodes),
                "softmax_added": logits,
                "route": asdict(route),
                "tools": tool_versions(route),
                "facts": asdict(facts),
                "preprocess": preprocess,
            },
        )

    def _own_outputs(self, plain: IoWrapper, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Outputs of the network's own FP32 graph, float32 [n, classes] in the model's own class order."""
        return answers(wrap_io(self.network(), plain).SerializeToString(), pixels)
