"""`References`: loaded while the deployed bundle runs, evaluated once."""

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from braintumor.bench.accuracy.reference import KERAS, NO_REFERENCE, ReferenceOptions, References
from braintumor.bench.data.phantoms import phantoms
from braintumor.errors import UnavailableError
from braintumor.runtime.bundle.load import Bundle, load_bundle
from braintumor.runtime.ensemble import Ensemble


def options(*models: Path, reference: str = KERAS, concurrent: bool = True) -> ReferenceOptions:
    return ReferenceOptions(reference, "auto", models, threads=None, concurrent=concurrent)


@pytest.fixture
def bundle(small_bundle: Path) -> Bundle:
    return load_bundle(small_bundle)


def probabilities(ensemble: Ensemble) -> NDArray[np.float32]:
    return ensemble.probabilities({shape: phantoms(4, shape.height, shape.width) for shape in ensemble.geometries})


def test_references_loaded_concurrently_are_evaluated_once(bundle: Bundle, small_sources: tuple[Path, Path]) -> None:
    folders = {path.parent for path in small_sources}
    evaluated: list[str] = []

    def evaluate(ensemble: Ensemble) -> NDArray[np.float32]:
        evaluated.append(ensemble.engine.name)
        return probabilities(ensemble)

    concurrent = References(options(*folders), evaluate)
    concurrent.begin(bundle)
    first = concurrent.of(bundle)
    concurrent.begin(bundle)
    again = concurrent.of(bundle)
    alone = References(options(*folders, concurrent=False), evaluate).of(bundle)
    assert first is again
    assert first is not None
    assert alone is not None
    assert (first == alone).all()
    assert evaluated == ["keras", "keras"]


def test_references_begin_refuses_missing_file(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="`models`"):
        References(options(tmp_path), probabilities).begin(bundle)


def test_references_begin_refuses_missing_tensorflow(
    bundle: Bundle, small_sources: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UnavailableError, match="tensorflow"):
        References(options(*(path.parent for path in small_sources)), probabilities).begin(bundle)


def test_references_without_reference_load_nothing(bundle: Bundle, tmp_path: Path) -> None:
    none = References(options(tmp_path, reference=NO_REFERENCE), probabilities)
    none.begin(bundle)
    assert none.of(bundle) is None
