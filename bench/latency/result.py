"""What `bt-bench latency` measured, as values; schema `braintumor.latency/1` (docs/bench-json.md)."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

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
    "ContenderResult",
    "Decisions",
    "LatencyResult",
    "LatencySettings",
    "Skipped",
    "TimedSummary",
]


@dataclass(frozen=True, slots=True)
class TimedSummary:
    """What was asked about.

    Attributes:
        source: Where the images come from, in words.
        count: How many were timed.
        decided: On how many decisions and accuracies rest: as many, or all that there are.
        labelled: Whether their classes are known.
    """

    source: str
    count: int
    decided: int
    labelled: bool


@dataclass(frozen=True, slots=True)
class LatencySettings:
    """What a reader needs to repeat it; see `braintumor.bench.latency.options.LatencyOptions`."""

    engines: tuple[str, ...]
    against: tuple[str, ...]
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
    """From the start of a process to its first answer, to one image; each started when the one before had ended.

    Attributes:
        p50_ms: Median; above 0.
        filling_ms: The process before those, of a contender that fills a cache at its first start on a machine (it
            may have been filled already); None for one that keeps nothing.
    """

    p50_ms: Positive
    filling_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTimes:
    """One contender at one batch size: whole calls, from files to votes.

    Attributes:
        batch: Images that are answered together.
        first_ms: The first call with so many; it is none of the samples.
        p50_ms: Median; see `braintumor.bench.metrics.timing.Samples`, as for the next five.
        p90_ms: Percentile.
        p95_ms: Percentile.
        p99_ms: Percentile.
        max_ms: The slowest.
        samples_ms: All of them.
        images_per_s: Over the whole window.
        stages: Part of a call → its times; see `braintumor.bench.latency.runners.base.STAGES`.
        members: Member → its times; shorter where it was not always asked.
        stable: Whether the window was stable in the end, see `braintumor.bench.metrics.stability`.
        peak_rss_mb: Of the process up to then, in 1e6 bytes; None where the system does not tell.
        device: What only a GPU has.
        energy: Of a GPU.
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
    """What a contender decided.

    Attributes:
        images: How many.
        correct: As their class says; None for images without a class.
        flips: Labels that differ from the first contender's.
        max_abs_difference: From the first contender's probabilities, 0..1.
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
class ContenderResult:
    """All that was measured of one contender.

    Attributes:
        key: Its name in this result, unlike any other's.
        name: Who it is, as the next six: see `braintumor.bench.latency.runners.base.ContenderInfo`.
        kind: A bundle, or a peer.
        sha256: Of the bundle that it answers with.
        precision: Of the bundle, or what it computes in.
        engine: What it really runs on.
        members: Names.
        note: How it is used, where that needs a word.
        cold_start: Its starts.
        batches: One a batch size, in the order in which they were measured.
        decisions: What it decided; None in a run that was cut short before it was asked.
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
    """Two contenders at one batch size, measured in turns.

    Attributes:
        batch: Images a call.
        first: Key of the one.
        second: Key of the other.
        ratio: Time of the second over that of the first: above 1, the first is faster.
        stable: Whether both windows were.
    """

    batch: int
    first: str
    second: str
    ratio: Ratio
    stable: bool


@dataclass(frozen=True, slots=True)
class Skipped:
    """A contender that could not take part.

    Attributes:
        name: What was asked for.
        reason: Why, and what to do about it.
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyResult:
    """One run of `bt-bench latency`.

    Attributes:
        schema: Of the file.
        notice: What it may be used for.
        command: What was typed.
        created_utc: When, ISO 8601.
        environment: The machine.
        unfinished: Where the run was cut short, in words; None for a whole one.
        images: What was asked about.
        options: What was asked for.
        timer_overhead_ms: What the clock itself adds to a time.
        inference_s: Seconds within the calls of all contenders.
        stable: Whether every window was.
        contenders: In the order in which they were named: bundles, then peers; at least one.
        comparisons: Every pair at every batch size.
        skipped: What could not take part.
        pareto: Accuracy against latency of every subset of every ensemble; empty without labelled images.
    """

    schema: Literal["braintumor.latency/1"] = "braintumor.latency/1"
    notice: str = NOTICE
    command: str
    created_utc: str = field(default_factory=lambda: dt.datetime.now(dt.UTC).isoformat(timespec="seconds"))
    environment: Environment
    unfinished: str | None
    images: TimedSummary
    options: LatencySettings
    timer_overhead_ms: float
    inference_s: float
    stable: bool
    contenders: tuple[ContenderResult, ...]
    comparisons: tuple[Comparison, ...]
    skipped: tuple[Skipped, ...]
    pareto: tuple[ParetoPoint, ...]

    def __post_init__(self) -> None:
        """Refuse times that stand beside nothing."""
        if not self.contenders or not self.batches:
            raise ValueError("there must be at least one contender, timed at one batch size")
        for one in self.contenders:
            if tuple(times.batch for times in one.batches) != self.batches:
                raise ValueError(f"{one.key} must be timed at the batch sizes of the first, {self.batches}")

    @property
    def batches(self) -> tuple[int, ...]:
        """The batch sizes, in the order in which they were measured."""
        return tuple(times.batch for times in self.contenders[0].batches)
