"""The ensemble that ships, in every precision, built by TensorRT for RTX for every usual card, without a GPU."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from braintumor.runtime.bundle.load import Bundle, load_bundle
from braintumor.runtime.engines.tensorrt.build import BuildOptions, build_plan
from braintumor.runtime.engines.tensorrt.library import TrtLibrary
from braintumor.runtime.engines.tensorrt.plan_file import PlanTensor, read_plan, write_plan
from braintumor.runtime.engines.tensorrt.profile import BatchProfile

PROFILE = BatchProfile(1, 8, 32)
CARDS = ("SM80", "SM86", "SM89", "SM120")


@pytest.fixture(scope="module", params=["fp32", "fp16", "int8"])
def shipped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The default bundle, as `bt-export` makes it."""
    folder = tmp_path_factory.mktemp("bundles") / request.param
    rest = ("--rest", "fp16") if request.param == "int8" else ()
    command = [str(Path(sys.executable).with_name("bt-export")), "--precision", request.param, *rest]
    done = subprocess.run([*command, "--bundle", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return load_bundle(folder)


@pytest.mark.slow
def test_build_plan_builds_every_shipped_member_for_every_card(
    rtx: TrtLibrary, shipped: Bundle, tmp_path: Path
) -> None:
    for member in shipped.members:
        seconds = []
        for capabilities in (*((card,) for card in CARDS), CARDS):
            plan = build_plan(rtx, member.path, BuildOptions(PROFILE, capabilities))
            path = tmp_path / f"{member.name}-{len(seconds)}.plan"
            write_plan(path, plan.data, plan.facts)
            data, facts = read_plan(path)
            path.unlink()
            assert len(data) == facts.plan_bytes > 1_000_000
            assert hashlib.sha256(data).hexdigest() == facts.plan_sha256
            assert facts.onnx_sha256 == member.sha256
            assert facts.inputs == (PlanTensor("image", "uint8", (-1, member.height, member.width)),)
            assert facts.outputs == (PlanTensor("probabilities", "float32", (-1, 4)),)
            assert (facts.profile, facts.compute_capabilities) == (PROFILE, capabilities)
            seconds.append(facts.build_s)
        each = ", ".join(f"{card} {taken:.1f}" for card, taken in zip(CARDS, seconds, strict=False))
        print(f"{member.name} {member.precision}: {each}; for all {seconds[-1]:.1f} s, {len(data) / 1e6:.0f} MB")
