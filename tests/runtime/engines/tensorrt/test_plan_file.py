"""A plan is read only where its sidecar vouches for it."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from braintumor.errors import IntegrityError, OutputError
from braintumor.runtime.engines.tensorrt.plan_file import (
    PlanFacts,
    PlanTensor,
    read_facts,
    read_plan,
    sidecar_of,
    write_plan,
)
from braintumor.runtime.engines.tensorrt.profile import BatchProfile

DATA = b"a plan"
FACTS = PlanFacts(
    library="tensorrt",
    library_version="11.4.0",
    onnx_sha256="0" * 64,
    inputs=(PlanTensor("image", "uint8", (-1, 16, 16)),),
    outputs=(PlanTensor("probabilities", "float32", (-1, 4)),),
    profile=BatchProfile(1, 8, 32),
    compute_capabilities=("SM86",),
    gpu="NVIDIA RTX A4000",
    driver="580.65.06",
    version_compatible=False,
    hardware_compatibility="none",
    build_s=12.5,
    plan_sha256=hashlib.sha256(DATA).hexdigest(),
    plan_bytes=len(DATA),
)


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    write_plan(tmp_path / "m.plan", DATA, FACTS)
    return tmp_path / "m.plan"


def test_read_plan_gives_what_write_plan_wrote(plan: Path) -> None:
    assert read_plan(plan) == (DATA, FACTS)
    assert read_facts(plan) == FACTS
    assert sorted(path.name for path in plan.parent.iterdir()) == ["m.plan", "m.plan.json"]
    assert json.loads(sidecar_of(plan).read_bytes())["schema"] == "braintumor.plan/1"


def test_read_plan_refuses_another_plan_under_the_sidecar(plan: Path) -> None:
    plan.write_bytes(b"another plan")
    with pytest.raises(IntegrityError, match=r"m\.plan has SHA-256 .*its sidecar says .*it is built again"):
        read_plan(plan)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"{", b'{"schema": "braintumor.plan/9"}', b"[" * 10_000])
def test_read_plan_refuses_a_damaged_sidecar(plan: Path, content: bytes) -> None:
    sidecar_of(plan).write_bytes(content)
    with pytest.raises(IntegrityError, match="sidecar of a plan, cannot be read"):
        read_plan(plan)


def test_read_plan_refuses_an_incomplete_sidecar(plan: Path) -> None:
    data = FACTS.to_dict()
    del data["onnx_sha256"]
    sidecar_of(plan).write_text(json.dumps(data))
    with pytest.raises(IntegrityError, match="onnx_sha256"):
        read_facts(plan)


def test_read_plan_refuses_a_missing_plan_or_sidecar(plan: Path) -> None:
    plan.unlink()
    with pytest.raises(IntegrityError, match="cannot be read"):
        read_plan(plan)
    sidecar_of(plan).unlink()
    with pytest.raises(IntegrityError, match="sidecar"):
        read_plan(plan)


def test_write_plan_leaves_nothing_where_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_plan(tmp_path / "missing" / "m.plan", DATA, replace(FACTS, gpu=None))


def test_write_plan_leaves_nothing_on_a_full_disk(tiny_disk: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_plan(tiny_disk / "m.plan", bytes(1 << 20), FACTS)
    assert not list(tiny_disk.iterdir())
