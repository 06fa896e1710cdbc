"""Small Keras models, the direct writer's answers, and Keras's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from braintumor.bench.data.phantoms import phantoms
from braintumor.export.from_keras import Core, open_archive, write_core

TOLERANCE = 1e-6


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Core]:
    """Saves a Keras model and writes it as ONNX."""

    def write(model: Any, **options: Any) -> Core:
        path = tmp_path / "model.keras"
        model.save(path)
        return write_core(open_archive(path), **options)

    return write


@pytest.fixture
def same_answers(written: Callable[..., Core]) -> Callable[..., Core]:
    """Writes a Keras model and holds its answers against Keras's, on phantoms and on noise."""

    def check(
        model: Any, *, count: int = 4, scale: float = 1.0, tolerance: float = TOLERANCE, **options: Any
    ) -> Core:
        core = written(model, **options)
        images = pixels(core, count) * scale
        answers = onnx_answers(core, images)
        expected = model.predict(images, verbose=0)
        assert answers.shape == expected.shape
        assert np.abs(expected).max() > 0
        assert np.abs(answers - expected).max() <= tolerance * max(1.0, np.abs(expected).max())
        return core

    return check


def pixels(core: Core, count: int) -> Any:
    """float32 [count, H, W, C], 0..255: phantoms and one image of noise."""
    facts = core.facts
    grey = phantoms(count, facts.height, facts.width)[..., np.newaxis]
    images = np.repeat(grey, facts.channels, axis=-1).astype(np.float32)
    images[-1] = np.random.default_rng(0).integers(0, 256, images[-1].shape)
    return images


def onnx_answers(core: Core, images: Any) -> Any:
    """What ONNX Runtime gives for images [n, H, W, C]."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        core.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (answers,) = session.run(None, {"pixels": images.transpose(0, 3, 1, 2)})
    return answers
