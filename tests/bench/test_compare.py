"""`compare_files` and `bt-bench compare`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from braintumor.bench.cli import main
from braintumor.bench.compare.compare import Limits, compare_files
from braintumor.bench.document import encode, field_values
from braintumor.bench.latency.energy import Energy
from braintumor.bench.latency.gpu import DeviceTimes
from braintumor.bench.latency.options import LatencyOptions
from braintumor.bench.latency.result import (
    BatchTimes,
    ColdStart,
    Decisions,
    LatencyResult,
    RunnerResult,
    TimedSummary,
)
from braintumor.bench.latency.runners.base import RunnerInfo
from braintumor.bench.metrics.environment import environment
from braintumor.bench.metrics.timing import Samples
from braintumor.bench.perf.scaling_result import Point, ScalingResult
from braintumor.errors import IntegrityError, UsageError
from braintumor.runtime.engines.base import EngineInfo

ENGINE = "onnxruntime-cpu"
KEY = f"fp32 on {ENGINE}"
LIMITS = Limits(ratio=1.1, points=0.5)


def write(path: Path, **medians: float) -> Path:
    entries = [{"fullname": name, "stats": {"median": median}} for name, median in medians.items()]
    path.write_text(json.dumps({"benchmarks": entries}))
    return path


Latency = Callable[..., Path]


@pytest.fixture
def latency(tmp_path: Path) -> Latency:
    """Writes what `bt-bench latency` writes, of one runner; `change` edits the JSON."""

    def make(
        name: str, *times_ms: float, correct: int = 700, change: Callable[[dict[str, Any]], object] | None = None
    ) -> Path:
        samples = Samples.of(times_ms)
        times = BatchTimes(
            batch=32,
            first_ms=9.0,
            **field_values(samples),
            images_per_s=samples.images_per_s(32),
            stages={},
            members={},
            stable=True,
            peak_rss_mb=500.0,
            device=DeviceTimes(),
            energy=Energy(reason="no GPU"),
        )
        runner = RunnerResult(
            key=KEY,
            **field_values(RunnerInfo("fp32", "bundle", "0" * 64, "fp32", EngineInfo(ENGINE, "CPU", "cpu", "1"))),
            cold_start=ColdStart(**field_values(Samples.of((400.0,))), filling_ms=None),
            batches=(times,),
            decisions=Decisions(703, correct, 0, 0.0, accuracy=correct / 703),
        )
        result = LatencyResult(
            command="bt-bench latency fp32",
            environment=environment(),
            unfinished=None,
            images=TimedSummary("test", 703, 703, labelled=True),
            options=LatencyOptions((Path("fp32"),), (ENGINE,), batches=(32,)).settings,
            timer_overhead_ms=1e-4,
            inference_s=1.0,
            stable=True,
            runners=(runner,),
            comparisons=(),
            skipped=(),
            pareto=(),
        )
        document = json.loads(json.dumps(encode(result)))
        if change is not None:
            change(document)
        path = tmp_path / name
        path.write_text(json.dumps(document))
        return path

    return make


def worse(old: Path, new: Path) -> list[str]:
    return [change.name for change in compare_files(old, new).worse(LIMITS)]


def test_compare_files_gives_ratios_and_names_of_missing_metrics(tmp_path: Path) -> None:
    comparison = compare_files(
        write(tmp_path / "old", a=1.0, b=2.0, gone=1.0), write(tmp_path / "new", b=1.0, a=3.0, c=1.0)
    )
    assert [(change.name, change.ratio) for change in comparison.changes] == [("a", 3.0), ("b", 0.5)]
    assert (comparison.gone, comparison.added) == (("gone",), ("c",))


def test_compare_files_refuses_damaged_and_unrelated_files(tmp_path: Path, latency: Latency) -> None:
    good, other = write(tmp_path / "good", a=1.0), write(tmp_path / "other", b=1.0)
    (tmp_path / "odd").write_text("[]")
    (tmp_path / "unknown").write_text('{"schema": "braintumor.latency/99"}')
    (tmp_path / "half").write_text('{"schema": "braintumor.latency/1", "contenders": []}')
    damaged = [tmp_path / name for name in ("odd", "unknown", "half")]
    for bad in (*damaged, write(tmp_path / "nought", a=0.0)):
        with pytest.raises(IntegrityError):
            compare_files(good, bad)
    for bad in (other, tmp_path / "missing", latency("latency", 1.0)):
        with pytest.raises(UsageError):
            compare_files(good, bad)


def test_compare_command_exit_codes_of_missing_and_damaged_files(tmp_path: Path) -> None:
    good = write(tmp_path / "good", a=1.0)
    (tmp_path / "torn").write_text("{")
    for bad, code in ((tmp_path / "missing", 2), (tmp_path / "torn", 4)):
        done = CliRunner().invoke(main, ["compare", str(good), str(bad)])
        assert done.exit_code == code, done.output


def test_compare_command_fails_on_unfinished_new_run(latency: Latency) -> None:
    whole, cut = (
        latency("old", 1.0),
        latency("new", 1.0, change=lambda document: document.update(unfinished="before batch 64")),
    )
    for old, new, code, name in ((whole, cut, 3, "NEW"), (cut, whole, 0, "OLD")):
        done = CliRunner().invoke(main, ["compare", str(old), str(new)])
        assert done.exit_code == code, done.output
        assert f"{name} was cut short before batch 64" in done.output


def test_compare_files_refuses_other_images(latency: Latency) -> None:
    old, new = latency("old", 1.0), latency("new", 1.0, change=lambda document: document["images"].update(count=702))
    with pytest.raises(UsageError, match="the same images"):
        compare_files(old, new)


def test_worse_is_empty_for_equal_files(latency: Latency) -> None:
    assert worse(latency("old", 10.0, 11.0), latency("new", 10.0, 11.0)) == []


def test_worse_names_every_slower_metric(latency: Latency) -> None:
    names = worse(latency("old", 10.0, 10.0), latency("new", 12.0, 12.0))
    runner = "fp32 on onnxruntime-cpu, batch 32"
    assert names == [f"{runner}, p50", f"{runner}, p95", f"{runner}, rate"]


def test_worse_respects_limit_of_points(latency: Latency) -> None:
    # 3 of 703 are 0.43 points, 4 are 0.57.
    assert worse(latency("old", 1.0, correct=700), latency("three", 1.0, correct=697)) == []
    names = worse(latency("old", 1.0, correct=700), latency("four", 1.0, correct=696))
    assert names == ["fp32 on onnxruntime-cpu, accuracy"]


def test_worse_names_more_memory(latency: Latency) -> None:
    def double(document: dict[str, Any]) -> None:
        document["contenders"][0]["batches"][0]["peak_rss_mb"] *= 2

    assert worse(latency("old", 1.0), latency("new", 1.0, change=double)) == [
        "fp32 on onnxruntime-cpu, batch 32, peak memory"
    ]


def test_compare_command_judges_times_across_machines_on_request_only(latency: Latency) -> None:
    old = latency("old", 10.0)
    new = latency("new", 30.0, change=lambda document: document["environment"]["machine"].update(cpu="another CPU"))
    done = CliRunner().invoke(main, ["compare", str(old), str(new)])
    assert done.exit_code == 0, done.output
    assert "the machines differ" in done.output
    assert "another CPU" in done.output
    assert "3.000 x" in done.output
    across = CliRunner().invoke(main, ["compare", str(old), str(new), "--across-machines"])
    assert across.exit_code == 3, across.output


def test_compare_files_compares_scaling_point_by_point(tmp_path: Path) -> None:
    def scaling(name: str, wall_s: float) -> Path:
        result = ScalingResult(
            environment=environment(), bundle="fp32", sha256="0" * 64, engine="onnxruntime-cpu", source="phantoms"
        )
        for count, point_s in ((100, 2.0), (1000, wall_s)):
            result = result.with_point(Point.of(count, 1, point_s, 300.0, "e"))
        (tmp_path / name).write_text(json.dumps(encode(result)))
        return tmp_path / name

    assert worse(scaling("old", 10.0), scaling("new", 20.0)) == [f"{KEY}, 1000 images, 1 threads, whole process"]


def test_compare_command_names_changed_library(latency: Latency) -> None:
    new = latency("new", 1.0, change=lambda document: document["environment"]["libraries"].update(numpy="99.0"))
    done = CliRunner().invoke(main, ["compare", str(latency("old", 1.0)), str(new)])
    assert "-> 99.0" in done.output


@pytest.mark.parametrize(("allowed", "code"), [("2.9", 3), ("3.1", 0)])
def test_compare_command_fails_beyond_max_ratio(tmp_path: Path, allowed: str, code: int) -> None:
    old, new = write(tmp_path / "old", a=1.0, b=2.0), write(tmp_path / "new", a=3.0, b=2.0)
    done = CliRunner().invoke(main, ["compare", str(old), str(new), "--max-ratio", allowed])
    assert done.exit_code == code, done.output
    assert "3.000 x" in done.output
    assert f"{code // 3} of 2 worse: beyond {allowed} x" in done.output


def test_compare_command_on_missing_file_exits_with_2(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["compare", str(tmp_path / "none"), str(tmp_path / "none")])
    assert done.exit_code == 2
    assert "pytest-benchmark" in done.output


@pytest.mark.parametrize("limits", [{"ratio": 0.9}, {"points": -1.0}])
def test_limits_refuse_impossible_values(limits: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Limits(**limits)
