"""The result of `bt-bench latency`; schema `braintumor.latency/1` (docs/bench-json.md)."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from braintumor import NOTICE
from braintumor.bench.document import Positive
from braintumor.bench.latency.energy import Energy
from braintumor.bench.latency.gpu import DeviceTimes
from braintumor.bench.metrics.environment import Environment
from braintumor.bench.metrics.pareto import ParetoPoint
from braintumor.bench.metrics.ratio import Ratio
from braintumor.bench.metrics.timing import Samples
from braintumor.runtime.engines.base import EngineInfo
from braintumor.runtime.prediction import Policy

__all__ = [
    "BatchTimes",
    "ColdStart",
    "Comparison",
    "Decisions",
    "LatencyResult",
    "LatencySettings",
    "RunnerResult",
    "Skipped",
    "TimedSummary",
]


@dataclass(frozen=True, slots=True)
class TimedSummary:
    """Number and source of the images.

    Attributes:
        source: Where the images come from, in words.
        count: Number of images that are timed.
        decided: Number of images on which labels are compared: as many, or all.
        labelled: Whether their classes are known.
    """

    source: str
    count: int
    decided: int
    labelled: bool


class LatencySettings(msgspec.Struct, frozen=True, rename={"baselines": "against"}):
    """The options of a run, to repeat it; see `braintumor.bench.latency.options.LatencyOptions`."""

    engines: tuple[str, ...]
    baselines: tuple[str, ...]
    batches: tuple[int, ...]
    device: str | None
    threads: int | None
    policy: Policy
    cold_starts: int
    min_rounds: int
    max_s: float
    tolerance: float
    turn_ms: float


@dataclass(frozen=True, slots=True)
class ColdStart(Samples):
    """Times from the start of a process to its first prediction, of one image; one process after the other.

    Attributes:
        p50_ms: Median; > 0.
        filling_ms: The process before those, of a runner that fills a cache at its first start on a machine (it
            may have been filled before); None for a runner without a cache.
    """

    p50_ms: Positive
    filling_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTimes:
    """Times of one runner at one batch size: whole calls, from files to votes.

    Attributes:
        batch: Images in a batch.
        first_ms: The first call with this batch size; not among the samples.
        p50_ms: Median; see `braintumor.bench.metrics.timing.Samples`, as for the next five.
        p90_ms: Percentile.
        p95_ms: Percentile.
        p99_ms: Percentile.
        max_ms: The slowest call.
        samples_ms: All calls.
        images_per_s: Over the whole window.
        stages: Part of a call → its times; see `braintumor.bench.latency.runners.base.STAGES`.
        members: Member → its times; fewer where early exit left it out.
        stable: Whether the window was stable in the end, see `braintumor.bench.metrics.stability`.
        peak_rss_mb: Peak memory of the process so far, in 1e6 bytes; None where the system does not report it.
        device: Times on a GPU.
        energy: Energy of a GPU.
    """

    batch: int
    first_ms: float
    p50_ms: Positive
    p90_ms: Positive
    p95_ms: Positive
    p99_ms: Positive
    max_ms: Positive
    samples_ms: tuple[float, ...]
    images_per_s: Positive
    stages: Mapping[str, Samples]
    members: Mapping[str, Samples]
    stable: bool
    peak_rss_mb: Positive | None
    device: DeviceTimes
    energy: Energy


@dataclass(frozen=True, slots=True)
class Decisions:
    """Labels of a runner, beside those of the first runner.

    Attributes:
        images: Number of images.
        correct: Number of right labels; None for images without a class.
        flips: Number of labels that differ from the first runner's.
        max_abs_difference: max |Δp| to the first runner, 0..1.
        interval: 95 % interval of the share that is correct (Clopper & Pearson); None without labels or SciPy.
        accuracy: Correct / images; None for images without a class.
    """

    images: int
    correct: int | None
    flips: int
    max_abs_difference: float
    interval: tuple[float, float] | None = None
    accuracy: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerResult:
    """The measurements of one runner.

    Attributes:
        key: Its name in this result, unlike any other's.
        name: Name of the bundle or baseline; this and the next six as in
            `braintumor.bench.latency.runners.base.RunnerInfo`.
        kind: A bundle, or a baseline ("peer").
        sha256: Of the bundle that it runs.
        precision: Of the bundle, or the precision that it computes in.
        engine: The engine and device that it runs on, read back after loading.
        members: Names.
        note: How it is used, if that needs a word.
        cold_start: Its starts.
        batches: One entry for each batch size, in the order of the run.
        decisions: Its labels; None in a run that was cut short before them.
    """

    key: str
    name: str
    kind: Literal["bundle", "peer"]
    sha256: str | None
    precision: str
    engine: EngineInfo
    members: tuple[str, ...]
    note: str
    cold_start: ColdStart
    batches: tuple[BatchTimes, ...]
    decisions: Decisions | None

    def at(self, batch: int) -> BatchTimes:
        """The times at that batch size."""
        return next(times for times in self.batches if times.batch == batch)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runners at one batch size, measured in turns.

    Attributes:
        batch: Images in a batch.
        first: Key of the first runner.
        second: Key of the second runner.
        ratio: Time of the second over that of the first: above 1, the first is faster.
        stable: Whether both windows were stable.
    """

    batch: int
    first: str
    second: str
    ratio: Ratio
    stable: bool


@dataclass(frozen=True, slots=True)
class Skipped:
    """A runner that could not be started.

    Attributes:
        name: Bundle and engine, or baseline, in words.
        reason: Why, and how to fix it.
    """

    name: str
    reason: str


class LatencyResult(msgspec.Struct, frozen=True, kw_only=True, rename={"runners": "contenders"}):
    """One run of `bt-bench latency`.

    Attributes:
        schema: Of the file.
        notice: Not for clinical use.
        command: The command line.
        created_utc: Time of the run, ISO 8601.
        environment: The machine and its libraries.
        unfinished: Where the run was cut short, in words; None if it was finished.
        images: Number and source of the images.
        options: Options of the run.
        timer_overhead_ms: Time that the clock itself adds to a sample.
        inference_s: Seconds within the calls of all runners.
        stable: Whether every window was stable.
        runners: Bundles, then baselines, in the order of the options; at least one.
        comparisons: Every pair at every batch size.
        skipped: Runners that could not be started.
        pareto: Accuracy against latency of every subset of every ensemble; empty without labelled images.
    """

    schema: Literal["braintumor.latency/1"] = "braintumor.latency/1"
    notice: str = NOTICE
    command: str
    created_utc: str = msgspec.field(default_factory=lambda: dt.datetime.now(dt.UTC).isoformat(timespec="seconds"))
    environment: Environment
    unfinished: str | None
    images: TimedSummary
    options: LatencySettings
    timer_overhead_ms: float
    inference_s: float
    stable: bool
    runners: tuple[RunnerResult, ...]
    comparisons: tuple[Comparison, ...]
    skipped: tuple[Skipped, ...]
    pareto: tuple[ParetoPoint, ...]

    def __post_init__(self) -> None:
        """Check that all runners are timed at the same batch sizes."""
        if not self.runners or not self.batches:
            raise ValueError("there must be at least one runner, timed at one batch size")
        for runner in self.runners:
            if tuple(times.batch for times in runner.batches) != self.batches:
                raise ValueError(f"{runner.key} must be timed at the batch sizes of the first, {self.batches}")

    @property
    def batches(self) -> tuple[int, ...]:
        """The batch sizes, in the order in which they were measured."""
        return tuple(times.batch for times in self.runners[0].batches)
