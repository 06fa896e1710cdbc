"""The figures of a file of `bt-bench` or pytest-benchmark, under names that stay the same from run to run."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from braintumor.bench.report.format import named
from braintumor.errors import IntegrityError, UsageError

__all__ = ["READERS", "Quantity", "Reading", "Readings", "read_readings"]

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


def read_readings(path: Path) -> Readings:
    """Read a file.

    Raises:
        UsageError: It is not there.
        IntegrityError: It is no JSON, of no schema that is known here, or lacks what its schema promises.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{path} is not there; {_WANTED}") from error
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path} is no readable JSON ({error}); {_WANTED}") from error
    schema = str(told.get("schema", PYTEST if "benchmarks" in told else None)) if isinstance(told, dict) else "none"
    if schema not in READERS:
        raise IntegrityError(f"{path} is of schema {schema!r}, allowed are {', '.join(READERS)}; {_WANTED}")
    try:
        found = READERS[schema](told)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise IntegrityError(
            f"{path} is no whole {schema} ({type(error).__name__}: {error}); measure again"
        ) from error
    if not found.readings:
        raise IntegrityError(f"{path} holds no figure; measure again")
    for one in found.readings:
        if one.quantity.judged == "ratio" and not (isinstance(one.value, float) and 0 < one.value < float("inf")):
            raise IntegrityError(f"{path}: {one.name} is {one.value}, not a figure above 0; measure again")
    return found


_WANTED: Final = (
    "name what bt-bench accuracy, latency (--json FILE) or report, or pytest --benchmark-json FILE, has written"
)


def _pytest(told: Mapping[str, Any]) -> Readings:
    readings = tuple(
        Reading(str(entry["fullname"]), TIME, 1000 * float(entry["stats"]["median"])) for entry in told["benchmarks"]
    )
    about = told.get("machine_info", {})
    cpu = about.get("cpu", {})
    machine = f"{cpu['brand_raw']}, {cpu['count']} cores" if {"brand_raw", "count"} <= cpu.keys() else ""
    python = {"python": str(about["python_version"])} if "python_version" in about else {}
    return Readings(PYTEST, readings, machine, python)


def _latency(told: Mapping[str, Any]) -> Readings:
    images = told["images"]
    machine, libraries = _environment(told)
    data = f"{images['count']} images ({images['source']})"
    if images["decided"] != images["count"]:
        data += f", decisions on {images['decided']}"
    return Readings(told["schema"], tuple(_latency_readings(told)), machine, libraries, data, _cut(told))


def _latency_readings(told: Mapping[str, Any]) -> Iterator[Reading]:
    for one in told["contenders"]:
        key = one["key"]
        yield Reading(f"{key}, cold start, p50", TIME, float(one["cold_start"]["p50_ms"]))
        for times in one["batches"]:
            at = f"{key}, batch {times['batch']}"
            yield Reading(f"{at}, p50", TIME, float(times["p50_ms"]))
            yield Reading(f"{at}, p95", TIME, float(times["p95_ms"]))
            yield Reading(f"{at}, rate", RATE, float(times["images_per_s"]))
            if times["peak_rss_mb"] is not None:
                yield Reading(f"{at}, peak memory", MEMORY, float(times["peak_rss_mb"]))
        if one["decisions"] is not None and one["decisions"]["accuracy"] is not None:
            yield Reading(f"{key}, accuracy", ACCURACY, float(one["decisions"]["accuracy"]))


def _accuracy(told: Mapping[str, Any]) -> Readings:
    images = told["images"]
    machine, libraries = _environment(told)
    data = f"{images['count']} images (SHA-256 {images['sha256'][:12]})"
    return Readings(told["schema"], tuple(_accuracy_readings(told)), machine, libraries, data, _cut(told))


def _accuracy_readings(told: Mapping[str, Any]) -> Iterator[Reading]:
    for one in named(told)["bundles"]:
        key, scores = one["key"], one["scores"]
        yield Reading(f"{key}, verdict", VERDICT, str(one["verdict"]["status"]))
        yield Reading(f"{key}, accuracy", ACCURACY, float(scores["accuracy"]))
        if one["near_duplicate_free"] is not None:
            free = float(one["near_duplicate_free"]["accuracy"])
            yield Reading(f"{key}, accuracy without near-duplicates", ACCURACY, free)
        for kind in ("sick_called_healthy", "healthy_called_sick"):
            if scores[kind] is not None:
                yield Reading(f"{key}, {kind.replace('_', ' ')}", COUNT, float(scores[kind]["count"]))
        if (beside := one["comparison"]) is not None:
            yield Reading(f"{key}, flips", COUNT, float(beside["flips"]["count"]))
            if beside["max_abs_difference"] is not None:
                yield Reading(f"{key}, max |Δp|", DIFFERENCE, float(beside["max_abs_difference"]))
        # In passing, with nothing beside it: no measurement of speed, and not judged as one.
        yield Reading(f"{key}, rate in passing", PASSING, scores["images"] / float(one["inference_s"]))


def _scaling(told: Mapping[str, Any]) -> Readings:
    machine, libraries = _environment(told)
    readings = []
    for point in told["points"]:
        at = f"{told['bundle']} on {told['engine']}, {point['images']} images, {point['threads']} threads"
        readings.append(Reading(f"{at}, whole process", TIME, 1000.0 * point["wall_s"]))
        readings.append(Reading(f"{at}, peak memory", MEMORY, float(point["peak_rss_mb"])))
    return Readings(told["schema"], tuple(readings), machine, libraries)


def _report(told: Mapping[str, Any]) -> Readings:
    parts = [READERS[part["schema"]](part) for part in (told["accuracy"], told["latency"]) if part is not None]
    readings = tuple(
        Reading(f"{part.schema.partition('.')[2].partition('/')[0]}: {one.name}", one.quantity, one.value)
        for part in parts
        for one in part.readings
    )
    data = "; ".join(part.data for part in parts)
    cut = ", ".join(part.unfinished for part in parts if part.unfinished)
    return Readings(told["schema"], readings, parts[0].machine, parts[0].libraries, data, cut)


def _cut(told: Mapping[str, Any]) -> str:
    return str(told["unfinished"] or "")


def _environment(told: Mapping[str, Any]) -> tuple[str, Mapping[str, str]]:
    """The machine as a line, and the versions of what is installed."""
    about = told["environment"]
    machine = about["machine"]
    parts = [f"{machine['cpu']}, {machine['usable_cores']} cores", *(gpu["name"] for gpu in about["nvidia"]["gpus"])]
    libraries = {name: version for name, version in about["libraries"].items() if version is not None}
    return ", ".join(parts), {**libraries, "python": machine["python"]}


READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Readings]]] = MappingProxyType(
    {
        "braintumor.accuracy/1": _accuracy,
        "braintumor.latency/1": _latency,
        "braintumor.report/1": _report,
        "braintumor.scaling/1": _scaling,
        PYTEST: _pytest,
    }
)
"""Schema → reader. To understand another file, add one."""
