"""The reference: loaded beside the deployed, asked once, missed at once."""

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


def answers(ensemble: Ensemble) -> NDArray[np.float32]:
    return ensemble.probabilities({shape: phantoms(4, shape.height, shape.width) for shape in ensemble.geometries})


def test_what_was_loaded_beside_answers_as_what_was_loaded_alone_and_is_asked_once(
    bundle: Bundle, small_sources: tuple[Path, Path]
) -> None:
    folders = {path.parent for path in small_sources}
    asked: list[str] = []

    def ask(ensemble: Ensemble) -> NDArray[np.float32]:
        asked.append(ensemble.engine.name)
        return answers(ensemble)

    beside = References(options(*folders), ask)
    beside.begin(bundle)
    found = beside.of(bundle)
    beside.begin(bundle)
    again = beside.of(bundle)
    alone = References(options(*folders, concurrent=False), ask).of(bundle)
    assert found is again
    assert found is not None
    assert alone is not None
    assert (found == alone).all()
    assert asked == ["keras", "keras"]


def test_an_original_that_is_missing_is_told_before_the_deployed_is_asked(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="`models`"):
        References(options(tmp_path), answers).begin(bundle)


def test_tensorflow_that_is_missing_is_told_before_the_deployed_is_asked(
    bundle: Bundle, small_sources: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UnavailableError, match="tensorflow"):
        References(options(*(path.parent for path in small_sources)), answers).begin(bundle)


def test_without_a_reference_nothing_is_loaded(bundle: Bundle, tmp_path: Path) -> None:
    none = References(options(tmp_path, reference=NO_REFERENCE), answers)
    none.begin(bundle)
    assert none.of(bundle) is None
