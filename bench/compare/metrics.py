"""The figures of a file of `bt-bench` or pytest-benchmark, under names that stay the same from run to run."""

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

__all__ = ["Quantity", "Reading", "Readings", "read_readings"]

PYTEST: Final = "pytest --benchmark-json"


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a figure is, and what may become of it.

    Attributes:
        name: In a word or two.
        shown: How one is written, as a format specification; "" for text.
        unit: Behind the figure.
        scale: The figure is multiplied with it to be shown.
        judged: By the ratio of the two, by their difference in percentage points, as a verdict, or not at all.
        more_is_better: Whether a larger one is the better one.
        of_the_machine: Whether another machine gives another one.
    """

    name: str
    shown: str
    unit: str
    judged: Literal["ratio", "points", "verdict", "no"]
    scale: float = 1.0
    more_is_better: bool = False
    of_the_machine: bool = False

    def text(self, value: float | str) -> str:
        """As it is shown."""
        return value if isinstance(value, str) else f"{value * self.scale:{self.shown}}{self.unit}"


TIME: Final = Quantity("time", ".4g", " ms", "ratio", of_the_machine=True)
RATE: Final = Quantity("rate", ".4g", " images/s", "ratio", more_is_better=True, of_the_machine=True)
PASSING: Final = Quantity("rate", ".4g", " images/s", "no", more_is_better=True, of_the_machine=True)
MEMORY: Final = Quantity("memory", ".0f", " MB", "ratio", of_the_machine=True)
ACCURACY: Final = Quantity("accuracy", ".2f", " %", "points", scale=100.0, more_is_better=True)
COUNT: Final = Quantity("count", ".0f", "", "no")
DIFFERENCE: Final = Quantity("difference", ".2g", "", "no")
VERDICT: Final = Quantity("verdict", "", "", "verdict")


@dataclass(frozen=True, slots=True)
class Reading:
    """One figure.

    Attributes:
        name: What of what, such as "fp32 on onnxruntime-cpu, batch 32, p50".
        quantity: What it is.
        value: In the unit of the quantity; text for a verdict.
    """

    name: str
    quantity: Quantity
    value: float | str


@dataclass(frozen=True, slots=True)
class Readings:
    """What a file holds.

    Attributes:
        schema: Which command wrote it.
        readings: In the file's order.
        machine: CPU, cores and GPUs as one line; "" where the file does not tell.
        libraries: Name → version.
        data: What tells one set of images from another; "" where the file does not tell.
        unfinished: Where the run was cut short, in words; "" for a whole one.
    """

    schema: str
    readings: tuple[Reading, ...]
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
_WANTED: Final = (
    "name what bt-bench accuracy, latency (--json FILE) or report, or pytest --benchmark-json FILE, has written"
)


def read_readings(path: Path) -> Readings:
    """Read a file.

    Raises:
        UsageError: It is not there.
        IntegrityError: It is no JSON, of no schema that is known here, or lacks what its schema promises.
    """
    found = _readings(read_document(path, _KINDS, _WANTED))
    if not found.readings:
        raise IntegrityError(f"{path} holds no figure; measure again")
    return found


def _readings(document: Document) -> Readings:
    if isinstance(document, AccuracyResult):
        return _accuracy(document)
    if isinstance(document, LatencyResult):
        return _latency(document)
    if isinstance(document, ScalingResult):
        return _scaling(document)
    return _report(document) if isinstance(document, Report) else _pytest(document)


def _pytest(found: BenchmarkFile) -> Readings:
    readings = tuple(Reading(one.fullname, TIME, 1000 * one.stats.median) for one in found.benchmarks)
    cpu, python = found.machine_info.cpu, found.machine_info.python_version
    machine = f"{cpu.brand_raw}, {cpu.count} cores" if cpu.brand_raw and cpu.count else ""
    return Readings(PYTEST, readings, machine, {"python": python} if python else {})


def _latency(found: LatencyResult) -> Readings:
    images = found.images
    data = f"{images.count} images ({images.source})"
    if images.decided != images.count:
        data += f", decisions on {images.decided}"
    machine, libraries = _environment(found.environment)
    readings = tuple(_latency_readings(found))
    return Readings(found.schema, readings, machine, libraries, data, found.unfinished or "")


def _latency_readings(found: LatencyResult) -> Iterator[Reading]:
    for one in found.contenders:
        yield Reading(f"{one.key}, cold start, p50", TIME, one.cold_start.p50_ms)
        for times in one.batches:
            at = f"{one.key}, batch {times.batch}"
            yield Reading(f"{at}, p50", TIME, times.p50_ms)
            yield Reading(f"{at}, p95", TIME, times.p95_ms)
            yield Reading(f"{at}, rate", RATE, times.images_per_s)
            if times.peak_rss_mb is not None:
                yield Reading(f"{at}, peak memory", MEMORY, times.peak_rss_mb)
        if one.decisions is not None and one.decisions.accuracy is not None:
            yield Reading(f"{one.key}, accuracy", ACCURACY, one.decisions.accuracy)


def _accuracy(found: AccuracyResult) -> Readings:
    machine, libraries = _environment(found.environment)
    data = f"{found.images.count} images (SHA-256 {found.images.sha256[:12]})"
    readings = tuple(_accuracy_readings(found))
    return Readings(found.schema, readings, machine, libraries, data, found.unfinished or "")


def _accuracy_readings(found: AccuracyResult) -> Iterator[Reading]:
    for named_one in named_bundles(found):
        key, one, scores = named_one.key, named_one.result, named_one.result.scores
        yield Reading(f"{key}, verdict", VERDICT, one.verdict.status)
        yield Reading(f"{key}, accuracy", ACCURACY, scores.accuracy)
        if one.near_duplicate_free is not None:
            yield Reading(f"{key}, accuracy without near-duplicates", ACCURACY, one.near_duplicate_free.accuracy)
        if scores.sick_called_healthy is not None:
            yield Reading(f"{key}, sick called healthy", COUNT, scores.sick_called_healthy.count)
        if scores.healthy_called_sick is not None:
            yield Reading(f"{key}, healthy called sick", COUNT, scores.healthy_called_sick.count)
        if one.comparison is not None:
            yield Reading(f"{key}, flips", COUNT, one.comparison.flips.count)
            if one.comparison.max_abs_difference is not None:
                yield Reading(f"{key}, max |Δp|", DIFFERENCE, one.comparison.max_abs_difference)
        # In passing, with nothing beside it: no measurement of speed, and not judged as one.
        yield Reading(f"{key}, rate in passing", PASSING, scores.images / one.inference_s)


def _scaling(found: ScalingResult) -> Readings:
    machine, libraries = _environment(found.environment)
    readings = []
    for point in found.points:
        at = f"{found.bundle} on {found.engine}, {point.images} images, {point.threads} threads"
        readings.append(Reading(f"{at}, whole process", TIME, 1000.0 * point.wall_s))
        readings.append(Reading(f"{at}, peak memory", MEMORY, point.peak_rss_mb))
    return Readings(found.schema, tuple(readings), machine, libraries)


def _report(found: Report) -> Readings:
    parts = [_readings(part) for part in (found.accuracy, found.latency) if part is not None]
    readings = tuple(
        Reading(f"{part.schema.partition('.')[2].partition('/')[0]}: {one.name}", one.quantity, one.value)
        for part in parts
        for one in part.readings
    )
    data = "; ".join(part.data for part in parts)
    cut = ", ".join(part.unfinished for part in parts if part.unfinished)
    return Readings(found.schema, readings, parts[0].machine, parts[0].libraries, data, cut)


def _environment(about: Environment) -> tuple[str, Mapping[str, str]]:
    """The machine as a line, and the versions of what is installed."""
    machine = about.machine
    parts = [f"{machine.cpu}, {machine.usable_cores} cores", *(gpu.name for gpu in about.nvidia.gpus)]
    libraries = {name: version for name, version in about.libraries.items() if version is not None}
    return ", ".join(parts), {**libraries, "python": machine.python}
