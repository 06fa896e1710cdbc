"""A share of the cases of `make fuzz`, and hypothesis, which shrinks what it finds."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import images, keras_files
from tests.fuzz.bundles import Bundles

FIRST = 1_000_000  # cases that the long run does not have


@pytest.mark.parametrize("kind", images.KINDS)
def test_read_grey_decodes_or_refuses_mutated_files(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    outcomes = {images.outcome(images.case(kind, FIRST + index)) for index in range(400)}
    assert outcomes == {"decoded", "InputError"}
    assert capfd.readouterr() == ("", "")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(images.KINDS), st.randoms(use_true_random=False))
def test_read_grey_decodes_or_refuses_what_hypothesis_makes(kind: str, rng: random.Random) -> None:
    assert images.outcome(images.changed(kind, rng)) in {"decoded", "InputError"}


@pytest.mark.parametrize("kind", images.KINDS)
def test_seeds_are_whole(kind: str) -> None:
    assert {images.outcome(data) for data in images.seeds(kind)} == {"decoded"}


def test_load_bundle_gives_the_same_bundle_or_refuses(tmp_path: Path) -> None:
    bundles = Bundles(tmp_path)
    assert {bundles.outcome(FIRST + index) for index in range(250)} == {"the same", "another", "IntegrityError"}


def test_write_network_converts_or_refuses(tmp_path: Path) -> None:
    outcomes = {keras_files.outcome(FIRST + index, tmp_path) for index in range(6)}
    assert outcomes <= {"converted", "ModelError", "UnsupportedLayerError"}
