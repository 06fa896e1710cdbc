"""Fixtures of the export tests: the worker in this process, hand-made graphs, and a session to run them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from braintumor.export.options import MemberOptions
from braintumor.export.stages import ModelStages, open_model
from braintumor.export.verify.reference import VerificationImages
from braintumor.models.labels import CLASSES
from tests.support.keras_worker import keras_in_this_process


@pytest.fixture
def keras_in_process() -> Iterator[None]:
    """Has Keras and tf2onnx answer in this process, where they are loaded: another takes seconds each time."""
    with keras_in_this_process():
        yield


@pytest.fixture(scope="session")
def stages_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ModelStages]:
    """Opens a model file for the usual classes, to be verified on phantoms; options are those of `MemberOptions`."""

    def make(
        path: Path,
        name: str | None = None,
        weight: float = 1.0,
        classes: tuple[str, ...] = CLASSES,
        *,
        order: tuple[str, ...] | None = None,
        images: VerificationImages | None = None,
        **options: Any,
    ) -> ModelStages:
        opened = open_model(MemberOptions(path, name or path.stem, weight, classes, **options))
        images = images or VerificationImages((), 64)
        return ModelStages(opened, order or classes, images, tmp_path_factory.mktemp("networks"))

    return make


@pytest.fixture
def make_graph() -> Callable[..., onnx.ModelProto]:
    """Builds a model of opset 18 from nodes, `x` [batch, …] in and the named tensors out."""

    def make(
        nodes: Sequence[onnx.NodeProto],
        constants: Mapping[str, Any],
        *,
        shape: Sequence[int] = (3, 8, 8),
        outputs: Mapping[str, Sequence[int]],
        kind: int = TensorProto.FLOAT,
        source: str = "x",
    ) -> onnx.ModelProto:
        graph = helper.make_graph(
            nodes,
            "hand-made",
            [helper.make_tensor_value_info(source, kind, ["n", *shape])],
            [helper.make_tensor_value_info(name, kind, ["n", *dims]) for name, dims in outputs.items()],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return model

    return make


@pytest.fixture
def run_graph() -> Callable[..., list[Any]]:
    """Answers of ONNX Runtime, without its own optimisations: what the graph itself says."""

    def run(model: onnx.ModelProto, value: Any) -> list[Any]:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return list(session.run(None, {session.get_inputs()[0].name: value}))

    return run
