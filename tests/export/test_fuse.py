"""One graph of all members gives their vote and what each of them said."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from braintumor.bench.phantoms import phantoms
from braintumor.errors import ModelError
from braintumor.export.fuse import fused, main
from braintumor.export.inference import answers, session
from braintumor.export.member import MemberOptions, Target, VerificationImages, export_member
from braintumor.export.pipeline import ExportOptions, export_bundle
from braintumor.models.labels import CLASSES
from braintumor.runtime.vote import soft_vote

IMAGES = VerificationImages((), 64)


def options(path: Path, name: str, weight: float) -> MemberOptions:
    return MemberOptions(path, name, weight, CLASSES)


@pytest.fixture(scope="module")
def members(small_keras: Callable[..., Path]) -> tuple[MemberOptions, ...]:
    return tuple(options(small_keras(f"m{seed}", seed=seed), f"m{seed}", seed + 1.0) for seed in range(3))


@pytest.fixture(scope="module")
def models(members: tuple[MemberOptions, ...]) -> dict[str, onnx.ModelProto]:
    exported = (export_member(member, CLASSES, Target("fp32"), IMAGES) for member in members)
    return {one.entry["name"]: onnx.load(str(one.model)) for one in exported}


@pytest.mark.parametrize("batch", [1, 7])
def test_the_vote_and_the_members_are_those_of_separate_sessions(
    models: dict[str, onnx.ModelProto], batch: int
) -> None:
    images = phantoms(batch, 32, 32, seed=batch)
    vote, *each = session(fused(models, [1.0, 2.0, 3.0]).SerializeToString()).run(None, {"image": images})
    expected = np.stack([answers(model.SerializeToString(), images) for model in models.values()])
    np.testing.assert_allclose(np.stack(each), expected, atol=1e-6)
    np.testing.assert_allclose(vote, soft_vote(expected, [1.0, 2.0, 3.0]), atol=1e-6)


def test_its_outputs_are_called_by_their_members(models: dict[str, onnx.ModelProto]) -> None:
    names = [output.name for output in fused(models, [1.0, 1.0, 1.0]).graph.output]
    assert names == ["probabilities", *(f"{name}/probabilities" for name in models)]


def test_members_of_different_sizes_are_refused(
    models: dict[str, onnx.ModelProto], small_keras: Callable[..., Path]
) -> None:
    other = export_member(options(small_keras("large", size=(48, 48)), "large", 1.0), CLASSES, Target("fp32"), IMAGES)
    with pytest.raises(ModelError, match="take images of different sizes"):
        fused({**models, "large": onnx.load(str(other.model))}, [1.0] * 4)


def test_the_script_times_both_ways_on_every_engine(members: tuple[MemberOptions, ...], tmp_path: Path) -> None:
    bundle = export_bundle(ExportOptions(members, "fp32", tmp_path / "bundle", "b", IMAGES, "by a test"))
    result = CliRunner().invoke(main, [str(bundle.folder), "--batch", "1,3", "--rounds", "3"], catch_exceptions=False)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert len([line for line in lines if line.startswith("onnxruntime-cpu")]) == 2
    assert all("gain" in line for line in lines)


@pytest.mark.parametrize("text", ["0", "a", "", "1,,2"])
def test_batch_sizes_that_are_none_are_refused(text: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [str(tmp_path), "--batch", text])
    assert result.exit_code == 2
    assert "give whole numbers from 1" in result.output
