"""Bundles under every policy beside OpenVINO as people run it: with its defaults, and held to float32.

    bt-export --precision fp32 --bundle bundles/fp32
    bt-export --precision int8 --float-precision bf16 --cascade VALIDATION_IMAGES --bundle bundles/int8
    python bench/perf/beside_openvino.py bundles/fp32 bundles/int8 --data TEST_IMAGES

OpenVINO runs the first bundle. All runners live in processes of their own and take turns, image files in and votes
out; ratios are of turns that follow each other, with bootstrap intervals of 95 %. Use real images: which models a
policy skips depends on them.
"""

import contextlib
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from braintumor.bench.comma_separated import CommaSeparated
from braintumor.bench.latency.images import timed_images
from braintumor.bench.latency.options import LatencyOptions, PlannedRunner, plan_runners
from braintumor.bench.latency.process import RunnerProcess
from braintumor.bench.latency.turns import batch_indices, take_turns
from braintumor.bench.metrics.ratio import Ratio, paired_ratio
from braintumor.errors import BraintumorError, UsageError
from braintumor.runtime.bundle.load import load_bundle
from braintumor.runtime.prediction import POLICIES
from braintumor.system.cpu import cpu_model

__all__ = ["BatchComparison", "PolicyComparison", "compare_policies", "comparison_lines"]

_BASELINES: Final = ("openvino", "openvino-f32")
_ENGINE: Final = "openvino-cpu"
_WARM_UP_TURNS: Final = 2
_TURN_MS: Final = 200.0

Step = Callable[[str], object]
"""Is called with each measurement that begins, in words."""


@dataclass(frozen=True, slots=True)
class BatchComparison:
    """Times at one batch size.

    Attributes:
        batch: Images in a call.
        times_ms: Runner → the mean call of each of its turns, in their order.
    """

    batch: int
    times_ms: Mapping[str, Sequence[float]]

    def images_per_s(self, runner: str) -> float:
        """Throughput of the median turn."""
        return 1000 * self.batch / statistics.median(self.times_ms[runner])

    def time_ratio(self, runner: str, baseline: str) -> Ratio:
        """Time of a runner over that of a baseline; below 1, the runner is faster."""
        return paired_ratio(self.times_ms[baseline], self.times_ms[runner])


@dataclass(frozen=True, slots=True)
class PolicyComparison:
    """One run.

    Attributes:
        cpu: Name of the CPU.
        providers: Runner → what it computes with, read back.
        batches: One for each batch size.
    """

    cpu: str
    providers: Mapping[str, str]
    batches: Sequence[BatchComparison]


def compare_policies(
    bundles: Sequence[Path], data: Path | None, batches: Sequence[int], rounds: int, step: Step
) -> PolicyComparison:
    """Time all bundles under all policies, and OpenVINO on the first bundle, in turns.

    Args:
        bundles: Folders, at least one.
        data: Labelled images, see `timed_images`; None for phantoms.
        batches: Batch sizes.
        rounds: Turns of each runner at each batch size.
        step: Gets what begins.

    Raises:
        UsageError: A number is too small.
        UnavailableError: OpenVINO is not installed.
    """
    if rounds < 1 or min(batches) < 1:
        raise UsageError("`rounds` and `batches` must be >= 1")
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="braintumor-policies-")))
        images = timed_images(data, None, work)
        runners: dict[str, RunnerProcess] = {}
        for name, planned in _runners(bundles):
            step(f"starting {name}")
            runners[name] = stack.enter_context(RunnerProcess(planned.spec, images.paths))
        compared = [_compare_batch(runners, batch, len(images.paths), rounds, step) for batch in batches]
        providers = {name: runner.info.engine.provider for name, runner in runners.items()}
    return PolicyComparison(cpu_model(), providers, compared)


def _runners(bundles: Sequence[Path]) -> Iterator[tuple[str, PlannedRunner]]:
    for bundle in bundles:
        for policy in POLICIES:
            if policy == "cascade" and load_bundle(bundle).cascade is None:
                continue
            options = LatencyOptions((bundle,), engines=(_ENGINE,), policy=policy)
            yield f"{bundle.name}, {policy}", next(_usable(options))
    for name in _BASELINES:
        options = LatencyOptions(tuple(bundles[:1]), engines=(_ENGINE,), baselines=(name,))
        *_, baseline = _usable(options)
        yield name, baseline


def _usable(options: LatencyOptions) -> Iterator[PlannedRunner]:
    for planned in plan_runners(options):
        if not isinstance(planned, PlannedRunner):
            raise UsageError(f"{planned.name} cannot be timed here: {planned.reason}")
        yield planned


def _compare_batch(
    runners: Mapping[str, RunnerProcess], batch: int, images: int, rounds: int, step: Step
) -> BatchComparison:
    step(f"batch {batch}: {rounds} rounds of {len(runners)} runners")
    batches = batch_indices(batch, images)
    processes = list(runners.values())
    times_ms: dict[str, list[float]] = {name: [] for name in runners}
    calls = 1
    for number in range(-_WARM_UP_TURNS, rounds):
        turns = take_turns(processes, [next(batches) for _ in range(calls)], backwards=not number % 2)
        turn_ms = [statistics.fmean(call.total_ms for call in turn) for turn in turns]
        if number < 0:
            calls = max(1, round(_TURN_MS / statistics.median(turn_ms)))
            continue
        for name, mean_ms in zip(runners, turn_ms, strict=True):
            times_ms[name].append(mean_ms)
    return BatchComparison(batch, times_ms)


def comparison_lines(comparison: PolicyComparison) -> Iterator[str]:
    """The comparison as text."""
    yield f"CPU: {comparison.cpu}"
    for batch in comparison.batches:
        yield f"batch {batch.batch}"
        for name, times_ms in batch.times_ms.items():
            ratios = "  ".join(
                f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}] x the time of {baseline}"
                for baseline in _BASELINES
                if (ratio := batch.time_ratio(name, baseline))
            )
            speed = f"{statistics.median(times_ms):8.1f} ms {batch.images_per_s(name):6.1f} images/s"
            yield f"  {name:24} {speed}  {ratios}  ({comparison.providers[name]})"


@click.command()
@click.argument("bundles", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--data", type=click.Path(exists=True, path_type=Path), help="Labelled images.  [default: phantoms]")
@click.option("--batch", "batches", type=CommaSeparated(int), default="1,32", show_default=True)
@click.option("--rounds", default=21, show_default=True, help="Turns of each runner.")
def main(*, bundles: tuple[Path, ...], data: Path | None, batches: tuple[int, ...], rounds: int) -> None:
    """Time BUNDLES under every policy beside OpenVINO on the first of them."""
    try:
        comparison = compare_policies(bundles, data, batches, rounds, lambda line: click.echo(line, err=True))
    except BraintumorError as error:
        sys.exit(f"Error: {error}")
    for line in comparison_lines(comparison):
        click.echo(line)


if __name__ == "__main__":
    main()
