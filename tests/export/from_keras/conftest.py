"""Small Keras models, the direct writer's answers, and Keras's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from braintumor.bench.data.phantoms import phantoms
from braintumor.export.from_keras import ConvertedModel, open_archive, write_network

TOLERANCE = 1e-6


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., ConvertedModel]:
    """Saves a Keras model and writes it as ONNX."""

    def write(model: Any, **options: Any) -> ConvertedModel:
        path = tmp_path / "model.keras"
        model.save(path)
        return write_network(open_archive(path), **options)

    return write


@pytest.fixture
def same_answers(written: Callable[..., ConvertedModel]) -> Callable[..., ConvertedModel]:
    """Writes a Keras model and holds its answers against Keras's, on phantoms and on noise."""

    def check(
        model: Any, *, count: int = 4, scale: float = 1.0, tolerance: float = TOLERANCE, **options: Any
    ) -> ConvertedModel:
        converted = written(model, **options)
        images = pixels(converted, count) * scale
        answers = onnx_answers(converted, images)
        expected = model.predict(images, verbose=0)
        assert answers.shape == expected.shape
        assert np.abs(expected).max() > 0
        assert np.abs(answers - expected).max() <= tolerance * max(1.0, np.abs(expected).max())
        return converted

    return check


def pixels(converted: ConvertedModel, count: int) -> Any:
    """float32 [count, H, W, C], 0..255: phantoms and one image of noise."""
    facts = converted.facts
    grey = phantoms(count, facts.height, facts.width)[..., np.newaxis]
    images = np.repeat(grey, facts.channels, axis=-1).astype(np.float32)
    images[-1] = np.random.default_rng(0).integers(0, 256, images[-1].shape)
    return images


def onnx_answers(converted: ConvertedModel, images: Any) -> Any:
    """Answers of ONNX Runtime to images [n, H, W, C]."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        converted.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (answers,) = session.run(None, {"pixels": images.transpose(0, 3, 1, 2)})
    return answers
