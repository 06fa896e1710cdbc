"""Bundles and peers timed in turns, each in a process of its own."""

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
def everyone(small_bundle: Path, small_sources: tuple[Path, Path], phantom_classes: Path) -> LatencyResult:
    """One bundle on two engines, beside every peer."""
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


def test_bundles_and_peers_stand_side_by_side(everyone: LatencyResult) -> None:
    assert everyone.skipped == ()
    keys = [one.key for one in everyone.runners]
    assert keys[:2] == ["small on onnxruntime-cpu", "small on openvino-cpu"]
    assert [one.name for one in everyone.runners[2:]] == list(BASELINES)
    pairs = len(keys) * (len(keys) - 1) // 2
    assert len(everyone.comparisons) == 2 * pairs
    assert len({(one.batch, one.first, one.second) for one in everyone.comparisons}) == 2 * pairs


def test_peers_with_the_same_models_decide_the_same(everyone: LatencyResult) -> None:
    for one in everyone.runners:
        if one.name == "detect-tumor":
            continue
        # OpenVINO, left to itself, computes in bfloat16 where the CPU can.
        tolerance = 1e-4 if one.precision == "fp32" else 0.1
        assert one.decisions.max_abs_difference < tolerance, one.key
        assert one.decisions.images == 8


def test_every_call_is_kept_with_its_parts(everyone: LatencyResult) -> None:
    for one in everyone.runners:
        assert [times.batch for times in one.batches] == [1, 3]
        for times in one.batches:
            samples = times.samples_ms
            assert len(samples) == len(everyone.runners[0].at(times.batch).samples_ms) >= 1
            assert set(times.stages) in ({*STAGES}, {"compute"})
            for index, total in enumerate(samples):
                parts = sum(stage.samples_ms[index] for stage in times.stages.values())
                assert 0 < parts <= total
            assert set(times.members) == set(one.members)
            assert times.first_ms > 0
    assert everyone.runners[0].cold_start.filling_ms is not None


def test_a_process_is_larger_than_nothing_and_a_cpu_says_why_it_has_no_gpu_figures(everyone: LatencyResult) -> None:
    for one in everyone.runners:
        for times in one.batches:
            assert times.peak_rss_mb is not None
            assert 20 < times.peak_rss_mb < 4000
            assert times.energy.joule_per_image is None
            assert "cpu" in times.energy.reason
            assert times.device.host_to_device is None
            assert "cpu" in times.device.reason


def test_a_subset_of_an_ensemble_has_an_accuracy_and_a_time(everyone: LatencyResult) -> None:
    found = {(point.runner, point.batch, point.members) for point in everyone.pareto}
    subsets = [("plain",), ("foreign",), ("plain", "foreign")]
    assert found == {
        (one.key, batch, members) for one in everyone.runners[:2] for batch in (1, 3) for members in subsets
    }
    whole = [point for point in everyone.pareto if len(point.members) == 2]
    for point in whole:
        one = next(one for one in everyone.runners if one.key == point.runner)
        assert one.decisions.correct == round(point.accuracy * point.images)
        assert point.ms_per_image == pytest.approx(one.at(point.batch).p50_ms / point.batch)
    assert any(point.on_front for point in everyone.pareto)


def test_it_is_plain_data_and_lines(everyone: LatencyResult) -> None:
    told = json.loads(json.dumps(encode(everyone), allow_nan=False))
    assert told["schema"] == "braintumor.latency/1"
    assert told["contenders"][0]["engine"]["name"] == "onnxruntime-cpu"
    decided = told["contenders"][0]["decisions"]
    low, high = decided["interval"]
    assert low <= decided["accuracy"] <= high
    assert told["environment"]["machine"]["cpu"]
    lines = "\n".join(latency_lines(everyone))
    for one in everyone.runners:
        assert one.key in lines
    assert "times as long as small on onnxruntime-cpu" in lines


@pytest.mark.ratio
def test_the_timer_takes_less_than_a_hundredth_of_a_call(everyone: LatencyResult) -> None:
    shortest = min(statistics.median(one.at(1).samples_ms) for one in everyone.runners)
    clocks_a_call = 2 + len(STAGES) + 1 + 2 * len(everyone.runners[0].members)
    assert everyone.timer_overhead_ms * clocks_a_call < 0.01 * shortest


def test_a_bundle_can_be_compared_with_itself(small_bundle: Path) -> None:
    options = LatencyOptions(
        (small_bundle, small_bundle), ("onnxruntime-cpu",), batches=(1,), images=2, window=SHORT, cold_starts=2
    )
    result = measure_latency(options, quiet)
    assert [one.key for one in result.runners] == ["small on onnxruntime-cpu", "small on onnxruntime-cpu #2"]
    assert [len(one.cold_start.samples_ms) for one in result.runners] == [2, 2]
    assert "phantoms" in result.images.source
    assert (result.images.labelled, result.pareto) == (False, ())


@pytest.mark.ratio
def test_two_runs_of_the_same_are_within_three_hundredths(shipped_model: Path, tmp_path: Path) -> None:
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


def test_members_that_are_left_out_have_no_time(small_bundle: Path) -> None:
    options = LatencyOptions(
        (small_bundle,), ("onnxruntime-cpu",), batches=(1,), images=4, window=SHORT, policy="early-exit"
    )
    (one,) = measure_latency(options, quiet).runners
    asked = {name: len(samples.samples_ms) for name, samples in one.at(1).members.items()}
    # "foreign" holds two thirds of the vote and runs first.
    assert asked["foreign"] == len(one.at(1).samples_ms)
    assert asked.get("plain", 0) <= asked["foreign"]
    assert "left out" in one.note


def test_an_engine_that_was_named_must_be_usable(small_bundle: Path) -> None:
    options = LatencyOptions((small_bundle,), ("openvino-gpu",), batches=(1,), images=2, window=SHORT)
    with pytest.raises(UnavailableError, match="openvino-gpu needs OpenVINO's device GPU"):
        measure_latency(options, quiet)


def test_of_all_engines_those_that_are_usable_are_timed(small_bundle: Path) -> None:
    options = LatencyOptions((small_bundle,), ("all",), batches=(1,), images=2, window=SHORT)
    result = measure_latency(options, quiet)
    timed = [one.engine.name for one in result.runners]
    assert {"onnxruntime-cpu", "openvino-cpu"} <= set(timed)
    assert len(timed) + len(result.skipped) == len(ENGINES)
    assert all(one.reason for one in result.skipped)


def test_auto_is_named_by_what_was_measured_as_fastest(small_bundle: Path) -> None:
    options = LatencyOptions((small_bundle,), batches=(1,), images=2, window=SHORT)
    (one,) = measure_latency(options, quiet).runners
    assert one.engine.name in ENGINES
    assert one.key == f"small on {one.engine.name}"


def test_a_keras_file_that_is_nowhere_is_skipped_with_the_reason(small_bundle: Path) -> None:
    options = LatencyOptions((small_bundle,), ("onnxruntime-cpu",), ("keras",), batches=(1,), images=2, window=SHORT)
    result = measure_latency(options, quiet)
    assert [one.kind for one in result.runners] == ["bundle"]
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
def test_what_cannot_be_measured_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LatencyOptions(**{"bundles": (Path("b"),), **change})  # type: ignore[arg-type]


@pytest.fixture
def run(small_bundle: Path) -> Callable[..., tuple[int, str]]:
    def invoke(*arguments: str, bundle: Path = small_bundle) -> tuple[int, str]:
        short = ("--rounds", "4", "--seconds", "0.5", "--batch", "1,2", "--engine", "onnxruntime-cpu")
        done = CliRunner().invoke(main, ["latency", str(bundle), *short, *arguments])
        return done.exit_code, done.output

    return invoke


def test_the_command_writes_a_table_and_a_file(
    run: Callable[..., tuple[int, str]], phantom_classes: Path, tmp_path: Path
) -> None:
    output = tmp_path / "latency.json"
    code, text = run("--data", str(phantom_classes), "--json", str(output))
    assert code == 0, text
    assert f"12 images ({phantom_classes})" in text
    told = json.loads(output.read_bytes())
    assert told["options"]["batches"] == [1, 2]
    assert told["command"].startswith("bt-bench")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--baseline", "pytorch"), 2, "no baseline is called 'pytorch'"),
        (("--batch", "one"), 2, "is not a list of int"),
        (("--data", "nowhere"), 2, "nowhere is not there"),
        (("--engine", "openvino-gpu"), 5, "openvino-gpu"),
    ],
)
def test_bad_input_has_the_exit_code_of_the_contract(
    run: Callable[..., tuple[int, str]], arguments: tuple[str, ...], code: int, message: str
) -> None:
    found, text = run(*arguments)
    assert found == code, text
    assert message in text


def test_more_images_than_there_are_is_refused(run: Callable[..., tuple[int, str]], phantom_classes: Path) -> None:
    code, text = run("--data", str(phantom_classes), "--images", "13")
    assert (code, "holds 12 images; 13 are needed" in text) == (2, True)


def test_a_bundle_that_is_none_is_refused(run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    code, text = run(bundle=tmp_path)
    assert (code, "is not a bundle" in text) == (4, True)
