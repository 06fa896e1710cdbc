"""What `bt-bench latency` measured, as values; schema `braintumor.latency/1` (docs/bench-json.md)."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from braintumor import NOTICE
from braintumor.bench.latency.energy import Energy
from braintumor.bench.latency.gpu import DeviceTimes
from braintumor.bench.latency.runners.base import ContenderInfo
from braintumor.bench.metrics.environment import Environment
from braintumor.bench.metrics.pareto import ParetoPoint
from braintumor.bench.metrics.ratio import Ratio
from braintumor.bench.metrics.timing import Samples

__all__ = [
    "SCHEMA",
    "BatchTimes",
    "ColdStart",
    "Comparison",
    "ContenderResult",
    "Decisions",
    "LatencyResult",
    "Skipped",
]

SCHEMA: Final = "braintumor.latency/1"


@dataclass(frozen=True, slots=True)
class ColdStart:
    """From the start of a process to its first answer, to one image.

    Attributes:
        samples: One a process, each started when the one before had ended.
        filling_ms: The process before those, of a contender that fills a cache at its first start on a machine (it
            may have been filled already); None for one that keeps nothing.
    """

    samples: Samples
    filling_ms: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {**self.samples.to_json(), "filling_ms": self.filling_ms}


@dataclass(frozen=True, slots=True)
class BatchTimes:
    """One contender at one batch size.

    Attributes:
        batch: Images that are answered together.
        first_ms: The first call with so many; it is none of the samples.
        samples: Whole calls, from files to votes.
        stages: Part of a call → its times; see `braintumor.bench.latency.runners.base.STAGES`.
        members: Member → its times; shorter where it was not always asked.
        stable: Whether the window was stable in the end, see `braintumor.bench.metrics.stability`.
        peak_rss_mb: Of the process up to then, in 1e6 bytes; None where the system does not tell.
        device: What only a GPU has.
        energy: Of a GPU.
    """

    batch: int
    first_ms: float
    samples: Samples
    stages: Mapping[str, Samples]
    members: Mapping[str, Samples]
    stable: bool
    peak_rss_mb: float | None
    device: DeviceTimes
    energy: Energy

    @property
    def images_per_s(self) -> float:
        """Over the whole window."""
        return self.samples.images_per_s(self.batch)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "batch": self.batch,
            "first_ms": self.first_ms,
            **self.samples.to_json(),
            "images_per_s": self.images_per_s,
            "stages": {name: samples.to_json() for name, samples in self.stages.items()},
            "members": {name: samples.to_json() for name, samples in self.members.items()},
            "stable": self.stable,
            "peak_rss_mb": self.peak_rss_mb,
            "device": self.device.to_json(),
            "energy": self.energy.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a contender decided.

    Attributes:
        images: How many.
        correct: As their class says; None for images without a class.
        flips: Labels that differ from the first contender's.
        max_abs_difference: From the first contender's probabilities, 0..1.
        interval: 95 % interval of the share that is correct (Clopper & Pearson); None without labels or SciPy.
    """

    images: int
    correct: int | None
    flips: int
    max_abs_difference: float
    interval: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        accuracy = None if self.correct is None else self.correct / self.images
        return {**asdict(self), "accuracy": accuracy}


@dataclass(frozen=True, slots=True)
class ContenderResult:
    """All that was measured of one contender.

    Attributes:
        key: Its name in this result, unlike any other's.
        info: Who it is.
        cold_start: Its starts.
        batches: One a batch size, in the order in which they were measured.
        decisions: What it decided; None in a run that was cut short before it was asked.
    """

    key: str
    info: ContenderInfo
    cold_start: ColdStart
    batches: tuple[BatchTimes, ...]
    decisions: Decisions | None

    def at(self, batch: int) -> BatchTimes:
        """The times at that batch size."""
        return next(times for times in self.batches if times.batch == batch)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "key": self.key,
            **self.info.to_json(),
            "cold_start": self.cold_start.to_json(),
            "batches": [times.to_json() for times in self.batches],
            "decisions": None if self.decisions is None else self.decisions.to_json(),
        }


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

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A contender that could not take part.

    Attributes:
        name: What was asked for.
        reason: Why, and what to do about it.
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class LatencyResult:
    """One run of `bt-bench latency`.

    Attributes:
        command: What was typed.
        images: "source", "count" (that were timed), "decided" and "labelled" of the images.
        options: What was asked for.
        environment: The machine.
        timer_overhead_ms: What the clock itself adds to a time.
        contenders: In the order in which they were named: bundles, then peers.
        comparisons: Every pair at every batch size.
        skipped: What could not take part.
        inference_s: Seconds within the calls of all contenders.
        unfinished: Where the run was cut short, in words; None for a whole one.
        pareto: Accuracy against latency of every subset of every ensemble; empty without labelled images.
        created_utc: When, ISO 8601.
    """

    command: str
    images: Mapping[str, Any]
    options: Mapping[str, Any]
    environment: Environment
    timer_overhead_ms: float
    contenders: tuple[ContenderResult, ...]
    comparisons: tuple[Comparison, ...]
    inference_s: float = 0.0
    unfinished: str | None = None
    skipped: tuple[Skipped, ...] = ()
    pareto: Sequence[ParetoPoint] = ()
    created_utc: str = field(default_factory=lambda: dt.datetime.now(dt.UTC).isoformat(timespec="seconds"))

    @property
    def stable(self) -> bool:
        """Whether every window was."""
        return all(times.stable for one in self.contenders for times in one.batches)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "schema": SCHEMA,
            "notice": NOTICE,
            "command": self.command,
            "created_utc": self.created_utc,
            "environment": self.environment.to_json(),
            "unfinished": self.unfinished,
            "images": dict(self.images),
            "options": dict(self.options),
            "timer_overhead_ms": self.timer_overhead_ms,
            "inference_s": self.inference_s,
            "stable": self.stable,
            "contenders": [one.to_json() for one in self.contenders],
            "comparisons": [one.to_json() for one in self.comparisons],
            "skipped": [asdict(one) for one in self.skipped],
            "pareto": [one.to_json() for one in self.pareto],
        }
