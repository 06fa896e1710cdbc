"""Metrics of a file of `bt-bench` or pytest-benchmark, under names that are the same from run to run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from braintumor.bench.accuracy.result import AccuracyResult
from braintumor.bench.compare.pytest_benchmark import BenchmarkFile
from braintumor.bench.document import read_document
from braintumor.bench.latency.result import LatencyResult
from braintumor.bench.metrics.environment import Environment
from braintumor.bench.perf.scaling_result import ScalingResult
from braintumor.bench.report.naming import named_bundles
from braintumor.bench.report.result import Report
from braintumor.errors import IntegrityError

__all__ = ["Metric", "MetricsFile", "Quantity", "read_metrics"]

PYTEST: Final = "pytest --benchmark-json"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A kind of metric: its unit, and how two values of it are compared.

    Attributes:
        name: In a word or two.
        format: Format specification of a value; "" for text.
        unit: Is written after the value.
        judged_by: The ratio of two values, their difference in percentage points, a verdict, or nothing.
        scale: Factor of the written value.
        more_is_better: Whether a larger value is better.
        of_the_machine: Whether it depends on the machine.
    """

    name: str
    format: str
    unit: str
    judged_by: Literal["ratio", "points", "verdict", "nothing"]
    scale: float = 1.0
    more_is_better: bool = False
    of_the_machine: bool = False

    def text(self, value: float | str) -> str:
        """A value as text, with its unit."""
        return value if isinstance(value, str) else f"{value * self.scale:{self.format}}{self.unit}"


TIME: Final = Quantity("time", ".4g", " ms", "ratio", of_the_machine=True)
RATE: Final = Quantity("rate", ".4g", " images/s", "ratio", more_is_better=True, of_the_machine=True)
UNJUDGED_RATE: Final = Quantity("rate", ".4g", " images/s", "nothing", more_is_better=True, of_the_machine=True)
MEMORY: Final = Quantity("memory", ".0f", " MB", "ratio", of_the_machine=True)
ACCURACY: Final = Quantity("accuracy", ".2f", " %", "points", scale=100.0, more_is_better=True)
COUNT: Final = Quantity("count", ".0f", "", "nothing")
DIFFERENCE: Final = Quantity("difference", ".2g", "", "nothing")
VERDICT: Final = Quantity("verdict", "", "", "verdict")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of a file.

    Attributes:
        name: Runner and figure, such as "fp32 on onnxruntime-cpu, batch 32, p50".
        quantity: Its kind.
        value: In the unit of the quantity; text for a verdict.
    """

    name: str
    quantity: Quantity
    value: float | str


@dataclass(frozen=True, slots=True)
class MetricsFile:
    """The metrics of a file, and where they were measured.

    Attributes:
        schema: Schema of the file.
        metrics: In the file's order.
        machine: CPU, cores and GPUs in one line; "" if not known.
        libraries: Name → version.
        data: Identifies the set of images; "" if not known.
        unfinished: Where the run was cut short, in words; "" if it was finished.
    """

    schema: str
    metrics: tuple[Metric, ...]
    machine: str = ""
    libraries: Mapping[str, str] = field(default_factory=dict)
    data: str = ""
    unfinished: str = ""


Document = AccuracyResult | LatencyResult | Report | ScalingResult | BenchmarkFile

_KINDS: Final[Mapping[str, type[Document]]] = MappingProxyType(
    {
        "": BenchmarkFile,
        "braintumor.accuracy/1": AccuracyResult,
        "braintumor.latency/1": LatencyResult,
        "braintumor.report/1": Report,
        "braintumor.scaling/1": ScalingResult,
    }
)
_REMEDY: Final = (
    "name a JSON file of bt-bench accuracy, latency or report, of bench/perf/scaling.py or of pytest-benchmark"
)


def read_metrics(path: Path) -> MetricsFile:
    """Read a file.

    Raises:
        UsageError: It is not there.
        IntegrityError: It is not JSON, has an unknown schema, or does not fit its schema.
    """
    file = _metrics_file(read_document(path, _KINDS, _REMEDY))
    if not file.metrics:
        raise IntegrityError(f"{path} holds no figure", "measure again")
    return file


def _metrics_file(document: Document) -> MetricsFile:
    if isinstance(document, AccuracyResult):
        return _accuracy(document)
    if isinstance(document, LatencyResult):
        return _latency(document)
    if isinstance(document, ScalingResult):
        return _scaling(document)
    return _report(document) if isinstance(document, Report) else _pytest(document)


def _pytest(file: BenchmarkFile) -> MetricsFile:
    metrics = tuple(Metric(benchmark.fullname, TIME, 1000 * benchmark.stats.median) for benchmark in file.benchmarks)
    cpu, python = file.machine_info.cpu, file.machine_info.python_version
    machine = f"{cpu.brand_raw}, {cpu.count} cores" if cpu.brand_raw and cpu.count else ""
    return MetricsFile(PYTEST, metrics, machine, {"python": python} if python else {})


def _latency(result: LatencyResult) -> MetricsFile:
    images = result.images
    data = f"{images.count} images ({images.source})"
    if images.decided != images.count:
        data += f", decisions on {images.decided}"
    machine, libraries = _environment(result.environment)
    metrics = tuple(_latency_metrics(result))
    return MetricsFile(result.schema, metrics, machine, libraries, data, result.unfinished or "")


def _latency_metrics(result: LatencyResult) -> Iterator[Metric]:
    for runner in result.runners:
        yield Metric(f"{runner.key}, cold start, p50", TIME, runner.cold_start.p50_ms)
        for times in runner.batches:
            name = f"{runner.key}, batch {times.batch}"
            yield Metric(f"{name}, p50", TIME, times.p50_ms)
            yield Metric(f"{name}, p95", TIME, times.p95_ms)
            yield Metric(f"{name}, rate", RATE, times.images_per_s)
            if times.peak_rss_mb is not None:
                yield Metric(f"{name}, peak memory", MEMORY, times.peak_rss_mb)
        if runner.decisions is not None and runner.decisions.accuracy is not None:
            yield Metric(f"{runner.key}, accuracy", ACCURACY, runner.decisions.accuracy)


def _accuracy(result: AccuracyResult) -> MetricsFile:
    machine, libraries = _environment(result.environment)
    data = f"{result.images.count} images (SHA-256 {result.images.sha256[:12]})"
    metrics = tuple(_accuracy_metrics(result))
    return MetricsFile(result.schema, metrics, machine, libraries, data, result.unfinished or "")


def _accuracy_metrics(result: AccuracyResult) -> Iterator[Metric]:
    for bundle in named_bundles(result):
        key, scores, comparison = bundle.key, bundle.result.scores, bundle.result.comparison
        yield Metric(f"{key}, verdict", VERDICT, bundle.result.verdict.status)
        yield Metric(f"{key}, accuracy", ACCURACY, scores.accuracy)
        if (leak_free := bundle.result.near_duplicate_free) is not None:
            yield Metric(f"{key}, accuracy without near-duplicates", ACCURACY, leak_free.accuracy)
        if scores.false_negatives is not None:
            yield Metric(f"{key}, sick called healthy", COUNT, scores.false_negatives.count)
        if scores.false_positives is not None:
            yield Metric(f"{key}, healthy called sick", COUNT, scores.false_positives.count)
        if comparison is not None:
            yield Metric(f"{key}, flips", COUNT, comparison.flips.count)
            if comparison.max_abs_difference is not None:
                yield Metric(f"{key}, max |Δp|", DIFFERENCE, comparison.max_abs_difference)
        # Measured in passing, with no other runner beside it: not a measurement of speed, and not judged as one.
        yield Metric(f"{key}, rate in passing", UNJUDGED_RATE, scores.images / bundle.result.inference_s)


def _scaling(result: ScalingResult) -> MetricsFile:
    machine, libraries = _environment(result.environment)
    metrics = []
    for point in result.points:
        name = f"{result.bundle} on {result.engine}, {point.images} images, {point.threads} threads"
        metrics.append(Metric(f"{name}, whole process", TIME, 1000.0 * point.wall_s))
        metrics.append(Metric(f"{name}, peak memory", MEMORY, point.peak_rss_mb))
    return MetricsFile(result.schema, tuple(metrics), machine, libraries)


def _report(report: Report) -> MetricsFile:
    parts = [_metrics_file(part) for part in (report.accuracy, report.latency) if part is not None]
    metrics = tuple(
        Metric(f"{part.schema.partition('.')[2].partition('/')[0]}: {metric.name}", metric.quantity, metric.value)
        for part in parts
        for metric in part.metrics
    )
    data = "; ".join(part.data for part in parts)
    unfinished = ", ".join(part.unfinished for part in parts if part.unfinished)
    return MetricsFile(report.schema, metrics, parts[0].machine, parts[0].libraries, data, unfinished)


def _environment(environment: Environment) -> tuple[str, Mapping[str, str]]:
    """The machine in one line, and the versions of the libraries that are installed."""
    machine = environment.machine
    parts = [f"{machine.cpu}, {machine.usable_cores} cores", *(gpu.name for gpu in environment.nvidia.gpus)]
    libraries = {name: version for name, version in environment.libraries.items() if version is not None}
    return ", ".join(parts), {**libraries, "python": machine.python}
