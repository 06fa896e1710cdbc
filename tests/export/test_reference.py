"""The reference of an export: which one it is, and that recorded answers are still those of Keras."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braintumor.bench.data.recorded import PHANTOMS
from braintumor.export.from_keras import open_archive, write_network
from braintumor.export.verify.reference import Reference, VerificationImages, reference_for, reference_source
from braintumor.runtime.image.geometry import Geometry

PHANTOM_IMAGES = VerificationImages((), PHANTOMS)


def reference(path: Path, pixels: Any = None) -> Reference:
    """The reference of a shipped model for its phantoms, or for other images of their size."""
    archive = open_archive(path)
    facts = write_network(archive, size=None).facts
    images = PHANTOM_IMAGES.resized(Geometry(facts.height, facts.width, "antialias", archive.crop))
    return reference_for(archive, facts, "none", images if pixels is None else pixels(images))


def test_reference_for_reads_recorded_answers_where_keras_is_installed(shipped_model: Path):
    answers = reference(shipped_model)
    assert answers.outputs is not None
    assert answers.outputs.shape == (PHANTOMS, 4)
    assert answers.answered_by is not None
    assert answers.answered_by.endswith(", recorded")


@pytest.mark.slow
def test_reference_for_asks_keras_about_other_images(shipped_model: Path):
    live = reference(shipped_model, lambda images: np.ascontiguousarray(images[::-1]))
    assert live.answered_by is not None
    assert "recorded" not in live.answered_by
    np.testing.assert_allclose(live.outputs[::-1], reference(shipped_model).outputs, atol=1e-5)  # type: ignore[index]


def test_reference_source_of_real_images_is_keras(shipped_model: Path, tmp_path: Path):
    archive = open_archive(shipped_model)
    assert reference_source(archive, PHANTOM_IMAGES) == "recorded"
    assert reference_source(archive, VerificationImages((tmp_path / "scan.png",), 1)) == "keras"
