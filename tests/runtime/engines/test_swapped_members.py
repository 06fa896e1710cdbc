"""A member that another process exchanges while it is loaded never answers, and leaves nothing in the cache."""

import contextlib
import dataclasses
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from braintumor.cache import CACHE_VARIABLE
from braintumor.errors import IntegrityError
from braintumor.runtime.bundle.load import load_bundle
from braintumor.runtime.bundle.verified import copy_verified, read_verified
from braintumor.runtime.engines.registry import engine_factory

pytestmark = pytest.mark.usefixtures("own_cache_of_the_test")

ENGINES = ["onnxruntime-cpu", "openvino-cpu"]
IMAGES = np.full((2, 16, 16), 30, np.uint8)
RIGHT, WRONG = [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]

# Exchanges a file for one of two others, in one step, as fast as it can.
SWAPPER = """
import os, shutil, sys
target, beside, *versions = sys.argv[1:]
print("ready", flush=True)
while True:
    for version in versions:
        shutil.copyfile(version, beside)
        os.replace(beside, target)
"""


def answers(bundle: Path, engine: str) -> NDArray[np.float32]:
    (member,) = load_bundle(bundle).members
    with engine_factory(engine)(member, threads=1, device=0) as loaded:
        return loaded.infer(IMAGES)


@dataclasses.dataclass(frozen=True)
class Swapped:
    """A bundle whose member is the right one, that file, and one that answers otherwise."""

    bundle: Path
    member: Path
    right: Path
    wrong: Path


@pytest.fixture
def swapped(handmade: Callable[..., Path], graph: Callable[..., onnx.ModelProto], tmp_path: Path) -> Swapped:
    for name, values in (("right", RIGHT), ("wrong", WRONG)):
        model = graph()
        model.graph.initializer[0].float_data[:] = values
        (tmp_path / name).write_bytes(model.SerializeToString())
    bundle = handmade((tmp_path / "right").read_bytes())
    return Swapped(bundle, bundle / "m0" / "model.onnx", tmp_path / "right", tmp_path / "wrong")


@contextlib.contextmanager
def swapping(case: Swapped) -> Iterator[None]:
    # A file that is not listed is refused: the next version waits outside of the bundle.
    beside = case.right.with_name("next")
    command = [sys.executable, "-c", SWAPPER, *map(str, (case.member, beside, case.right, case.wrong))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()
    shutil.copyfile(case.right, case.member)


@pytest.mark.parametrize("engine", ENGINES)
def test_engine_refuses_a_member_that_was_exchanged_after_loading(swapped: Swapped, engine: str) -> None:
    (member,) = load_bundle(swapped.bundle).members
    shutil.copyfile(swapped.wrong, swapped.member)
    with pytest.raises(IntegrityError, match="changed while it was loaded"):
        engine_factory(engine)(member, threads=1, device=0)
    shutil.copyfile(swapped.right, swapped.member)
    assert answers(swapped.bundle, engine).argmax(axis=1).tolist() == [0, 0]


def test_verified_reads_compare_whole_hashes(swapped: Swapped, tmp_path: Path) -> None:
    (member,) = load_bundle(swapped.bundle).members
    other = member.sha256[:-1] + ("1" if member.sha256[-1] == "0" else "0")
    assert read_verified(member.path, member.sha256) == swapped.right.read_bytes()
    with pytest.raises(IntegrityError, match="changed while"):
        read_verified(member.path, other)
    copy_verified(member.path, member.sha256, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == swapped.right.read_bytes()
    with pytest.raises(IntegrityError, match="changed while"):
        copy_verified(member.path, other, tmp_path / "copy")


def test_verified_reads_check_the_graph(swapped: Swapped, graph: Callable[..., onnx.ModelProto]) -> None:
    model = graph()
    model.graph.node[-1].op_type = "Loop"
    swapped.member.write_bytes(raw := model.SerializeToString())
    with pytest.raises(IntegrityError, match="holds the operator 'Loop'"):
        read_verified(swapped.member, hashlib.sha256(raw).hexdigest())


@pytest.mark.parametrize(
    ("engine", "races"),
    [
        ("onnxruntime-cpu", 20),
        ("openvino-cpu", 5),
        *(pytest.param(engine, 200, marks=pytest.mark.slow) for engine in ENGINES),
    ],
)
def test_engine_never_loads_an_exchanged_member(
    swapped: Swapped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, races: int
) -> None:
    right = answers(swapped.bundle, engine)
    caches = [tmp_path / f"cache-{race}" for race in range(races)]
    with swapping(swapped):
        for cache in caches:
            monkeypatch.setenv(CACHE_VARIABLE, str(cache))
            with contextlib.suppress(IntegrityError):
                assert np.array_equal(answers(swapped.bundle, engine), right)
    for cache in caches:
        monkeypatch.setenv(CACHE_VARIABLE, str(cache))
        assert np.array_equal(answers(swapped.bundle, engine), right)


@pytest.mark.parametrize("engine", ENGINES)
def test_engine_keeps_no_graph_that_answers_otherwise_than_the_probe(
    single: Path, own_cache_of_the_test: Path, caplog: pytest.LogCaptureFixture, engine: str
) -> None:
    (member,) = load_bundle(single).members
    details: dict[str, Any] = dict(member.details)
    rows = details["probe"]["probabilities"]
    turned = {**details, "probe": {**details["probe"], "probabilities": [row[::-1] for row in rows]}}
    images = np.full((2, member.height, member.width), 30, np.uint8)
    folder = own_cache_of_the_test / engine.partition("-")[0]
    with engine_factory(engine)(dataclasses.replace(member, details=turned), threads=1, device=0) as loaded:
        unkept = loaded.infer(images[:1])
    assert not [path for path in folder.iterdir() if not path.name.startswith(".")]
    assert "does not answer as the bundle says" in caplog.text
    with engine_factory(engine)(member, threads=1, device=0) as loaded:
        assert np.allclose(loaded.infer(images[:1]), unkept, atol=1e-6)
    assert [path for path in folder.iterdir() if not path.name.startswith(".")]
