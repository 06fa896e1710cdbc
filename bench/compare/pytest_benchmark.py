"""The part of a file of `pytest --benchmark-json` that `compare` reads."""

from dataclasses import dataclass, field

from braintumor.bench.document import Positive

__all__ = ["Benchmark", "BenchmarkCpu", "BenchmarkFile", "BenchmarkMachine", "BenchmarkStats"]


@dataclass(frozen=True, slots=True)
class BenchmarkStats:
    """Times of a benchmark.

    Attributes:
        median: In seconds.
    """

    median: Positive


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark of pytest-benchmark.

    Attributes:
        fullname: File and test.
        stats: Its times.
    """

    fullname: str
    stats: BenchmarkStats


@dataclass(frozen=True, slots=True)
class BenchmarkCpu:
    """The CPU, as pytest-benchmark names it."""

    brand_raw: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True)
class BenchmarkMachine:
    """The machine, as pytest-benchmark names it."""

    cpu: BenchmarkCpu = field(default_factory=BenchmarkCpu)
    python_version: str = ""


@dataclass(frozen=True, slots=True)
class BenchmarkFile:
    """A file of `pytest --benchmark-json`.

    Attributes:
        benchmarks: In their order.
        machine_info: Empty if not known.
    """

    benchmarks: tuple[Benchmark, ...]
    machine_info: BenchmarkMachine = field(default_factory=BenchmarkMachine)
