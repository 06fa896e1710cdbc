"""Plans from the cache, from a folder of the user's, and built again where they do not fit: real builds."""

import logging
import shutil
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from braintumor.cache import CACHE_VARIABLE
from braintumor.errors import IntegrityError, UnavailableError
from braintumor.runtime.bundle.load import Member, load_bundle
from braintumor.runtime.engines.tensorrt.build import BuildOptions, build_plan
from braintumor.runtime.engines.tensorrt.cuda import Gpu
from braintumor.runtime.engines.tensorrt.library import TrtLibrary
from braintumor.runtime.engines.tensorrt.plan_cache import PLANS_VARIABLE, PlanRequest, plan_for, rebuilt_plan
from braintumor.runtime.engines.tensorrt.plan_file import sidecar_of, write_plan
from braintumor.runtime.engines.tensorrt.profile import BatchProfile

pytestmark = pytest.mark.usefixtures("own_cache_of_the_test")

A4000 = Gpu("NVIDIA RTX A4000", "580.65.06", "SM86")
posix = pytest.mark.skipif(sys.platform == "win32", reason="owners and modes are POSIX's")


@pytest.fixture
def request_(rtx: TrtLibrary, member: Member) -> PlanRequest:
    return PlanRequest(member, rtx, A4000, BatchProfile(1, 4, 8))


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def plans_in(cache: Path) -> list[Path]:
    return sorted(cache.glob("tensorrt/*/model.plan"))


def test_plan_for_builds_a_plan_once_and_logs_it(
    request_: PlanRequest, own_cache_of_the_test: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = plan_for(request_)
    assert first[1].compute_capabilities == ("SM86",)
    (line,) = messages(caplog)
    assert line.startswith("a: building its plan for NVIDIA RTX A4000, once: with TensorRT for RTX")
    assert "does not do" not in line
    (path,) = plans_in(own_cache_of_the_test)
    written = path.stat().st_mtime_ns
    assert plan_for(request_) == first
    assert path.stat().st_mtime_ns == written
    assert len(caplog.records) == 1


@posix
def test_plan_for_keeps_the_cache_private(request_: PlanRequest, own_cache_of_the_test: Path) -> None:
    plan_for(request_)
    assert stat.S_IMODE((own_cache_of_the_test / "tensorrt").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"driver": "590.10"}, "it was built with the driver 580.65.06, and here is 590.10"),
        ({"capability": "SM89", "name": "NVIDIA L4"}, "it is for SM86, and this GPU is SM89"),
        ({"name": "NVIDIA RTX A2000"}, "it is for the GPU NVIDIA RTX A4000, and here is NVIDIA RTX A2000"),
    ],
)
def test_plan_for_builds_again_on_another_machine_and_logs_why(
    request_: PlanRequest, caplog: pytest.LogCaptureFixture, changed: dict[str, str], why: str
) -> None:
    plan_for(request_)
    caplog.clear()
    plan_for(replace(request_, gpu=replace(A4000, **changed)))
    (line,) = messages(caplog)
    assert f"the one that is here does not do: {why}" in line


def test_plan_request_key_depends_on_profile_version_and_precision(request_: PlanRequest) -> None:
    other = (
        replace(request_, profile=BatchProfile(1, 4, 16)),
        replace(request_, library=replace(request_.library, version="9.9")),
        replace(request_, member=replace(request_.member, precision="fp16")),
        replace(request_, member=replace(request_.member, sha256="0" * 64)),
    )
    assert len({request_.key, *(request.key for request in other)}) == 5
    assert replace(request_, gpu=replace(A4000, index=1)).key == request_.key


@pytest.mark.parametrize("damaged", ["model.plan", "model.plan.json"])
def test_plan_for_replaces_a_damaged_plan(
    request_: PlanRequest, own_cache_of_the_test: Path, caplog: pytest.LogCaptureFixture, damaged: str
) -> None:
    plan_for(request_)
    (path,) = plans_in(own_cache_of_the_test)
    (path.parent / damaged).write_bytes(b"damage")
    caplog.clear()
    plan, facts = plan_for(request_)
    assert len(plan) == facts.plan_bytes > 1000
    assert len(caplog.records) == 1
    if damaged == "model.plan":
        assert "it is damaged" in messages(caplog)[0]


def test_rebuilt_plan_logs_why(
    request_: PlanRequest, own_cache_of_the_test: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan_for(request_)
    written = plans_in(own_cache_of_the_test)[0].stat().st_mtime_ns
    caplog.clear()
    rebuilt_plan(request_, IntegrityError("it was built for other GPUs"))
    assert messages(caplog)[0] == "a: its plan does not load (it was built for other GPUs); building it again"
    assert plans_in(own_cache_of_the_test)[0].stat().st_mtime_ns > written


def test_plan_for_works_without_a_cache(
    request_: PlanRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    assert plan_for(request_)[0]


def test_plan_for_refuses_a_gpu_that_the_library_does_not_build_for(request_: PlanRequest) -> None:
    with pytest.raises(UnavailableError, match=r"does not build for SM90; it builds for .*onnxruntime-cuda"):
        plan_for(replace(request_, gpu=Gpu("NVIDIA H200", "580.65.06", "SM90")))


@pytest.fixture
def ahead(request_: PlanRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a plan of the member that was built ahead of time, for two kinds of GPU."""
    folder = tmp_path / "plans"
    folder.mkdir(mode=0o700)
    options = BuildOptions(BatchProfile(1, 2, 4), ("SM86", "SM89"))
    plan = build_plan(request_.library, request_.member.path, options)
    write_plan(folder / "a.plan", plan.data, plan.facts)
    monkeypatch.setenv(PLANS_VARIABLE, str(folder))
    return folder


def test_plan_for_takes_a_plan_built_ahead_with_its_batch_sizes(
    request_: PlanRequest, ahead: Path, own_cache_of_the_test: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan, facts = plan_for(request_)
    assert plan == (ahead / "a.plan").read_bytes()
    assert facts.profile == BatchProfile(1, 2, 4)
    assert not caplog.records
    assert not own_cache_of_the_test.exists()
    # Where its memory does not fit, one of other batch sizes is asked for.
    assert plan_for(request_, ahead=False)[1].profile == request_.profile


@posix
@pytest.mark.parametrize("open_to_all", [False, True])
def test_plan_for_refuses_a_plan_that_others_may_write(
    request_: PlanRequest, ahead: Path, caplog: pytest.LogCaptureFixture, open_to_all: bool
) -> None:
    (ahead if open_to_all else ahead / "a.plan").chmod(0o777)
    assert plan_for(request_)[1].profile == request_.profile
    assert "others may write" in messages(caplog)[0]


def test_plan_for_logs_why_a_plan_built_ahead_does_not_fit(
    request_: PlanRequest, ahead: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan_for(replace(request_, gpu=replace(A4000, capability="SM120")))
    assert "no plan in " in messages(caplog)[0]
    assert "it is for SM86, SM89, and this GPU is SM120" in messages(caplog)[0]
    caplog.clear()
    (ahead / "a.plan").write_bytes(b"foreign")
    plan_for(request_)
    assert "has SHA-256" in messages(caplog)[0]
    caplog.clear()
    sidecar_of(ahead / "a.plan").write_text("{}")
    plan_for(request_)
    assert "sidecar of a plan, cannot be read" in messages(caplog)[0]


def test_plan_for_ignores_plans_of_other_models(
    rtx: TrtLibrary, three: Path, ahead: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = load_bundle(three).members[1]
    with caplog.at_level(logging.WARNING, "braintumor"):
        plan_for(PlanRequest(other, rtx, A4000, BatchProfile(1, 2, 2)))
    assert f"no plan in {ahead} serves (none is of this model for tensorrt-rtx)" in messages(caplog)[0]
    shutil.rmtree(ahead)
